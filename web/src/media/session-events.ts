/**
 * The server-sent-events extension of a WHIP or WHEP session: how many watch, whether the stream is
 * on, and in which layers; for a publisher also which of those somebody needs. Listens only while the page is visible,
 * because a browser allows six connections a host over HTTP/1.1 and hidden tabs must not use them up; a publisher
 * listens always, because what it is asked for cannot wait.
 */
export interface StreamEvents {
  viewercount: { viewercount: number };
  active: { streamId?: string; sourceId?: string | null; tracks?: unknown };
  inactive: { streamId?: string; sourceId?: string | null };
  layers: { medias?: object };
  wantedlayers: { medias?: Record<string, { wanted: string[]; unwanted: string[] }> };
}

export type StreamEventHandler = <Name extends keyof StreamEvents>(
  name: Name,
  data: StreamEvents[Name],
) => void;

export interface Listening {
  /** What to ask the server for. */
  names?: readonly (keyof StreamEvents)[];
  /** Go on while the page is hidden. */
  always?: boolean;
  /** Nothing is heard for a while. */
  lost?: () => void;
}

const NAMES = ['active', 'inactive', 'layers', 'viewercount'] as const;
const RETRY_MS = 5_000;

export class SessionEvents {
  readonly #url: string;
  readonly #handler: StreamEventHandler;
  readonly #listening: Listening;
  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #opening = false;
  #closed = false;
  readonly #onVisibility = () => this.#follow();

  /** `url` is the target of the session's extension link. */
  constructor(url: string, handler: StreamEventHandler, listening: Listening = {}) {
    this.#url = url;
    this.#handler = handler;
    this.#listening = listening;
    document.addEventListener('visibilitychange', this.#onVisibility);
    this.#follow();
  }

  close(): void {
    this.#closed = true;
    document.removeEventListener('visibilitychange', this.#onVisibility);
    this.#drop();
  }

  get #hidden(): boolean {
    return document.hidden && !this.#listening.always;
  }

  get #names(): readonly (keyof StreamEvents)[] {
    return this.#listening.names ?? NAMES;
  }

  #follow(): void {
    if (this.#hidden) this.#drop();
    else if (!this.#source && !this.#opening) void this.#open();
  }

  #drop(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  async #open(): Promise<void> {
    this.#opening = true;
    clearTimeout(this.#retry);
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(this.#names),
      });
      const location = response.headers.get('Location');
      // A server that refuses has no events for us; only an unreachable one is asked again.
      if (!response.ok || !location || this.#closed || this.#hidden) return;
      this.#listen(new URL(location, response.url).href);
    } catch {
      this.#again();
    } finally {
      this.#opening = false;
    }
  }

  #listen(url: string): void {
    const source = new EventSource(url);
    this.#source = source;
    for (const name of this.#names) {
      source.addEventListener(name, ({ data }: MessageEvent<string>) => {
        try {
          this.#handler(name, JSON.parse(data) as never);
        } catch {
          // Not JSON: an event of a kind this client does not know.
        }
      });
    }
    source.addEventListener('error', () => {
      if (this.#source === source) this.#listening.lost?.();
      if (source.readyState !== EventSource.CLOSED || this.#source !== source) return;
      this.#source = null;
      this.#again();
    });
  }

  #again(): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#follow(), RETRY_MS);
  }
}
