/**
 * The HTTP half of a WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep) session: POST the offer, PATCH
 * candidates and ICE restarts under the session's ETag, DELETE at the end. Knows no peer connection.
 * Requests of one session are sent one after the other, since a PATCH depends on the ETag before it.
 */
import type { LayerSelection } from './layers';
import { EVENTS_EXTENSION, iceServersFrom, LAYER_EXTENSION, type Link, parseLinks } from './link';

const MAX_ANSWER_CHARS = 256 * 1024;

/** A refusal by the server, or no answer at all (`status` 0). */
export class SignallingError extends Error {
  override readonly name = 'SignallingError';

  constructor(
    /** HTTP status; 0 when the server could not be reached. */
    readonly status: number,
    /** The server's own words, at most a few lines. */
    readonly detail: string,
    /** What the server asked for by `Retry-After`, ms. */
    readonly retryAfter: number | null = null,
  ) {
    super(status === 0 ? `No answer: ${detail}` : `HTTP ${status}: ${detail}`);
  }

  /** Whether the same request may succeed later without anyone changing anything. */
  get transient(): boolean {
    return [0, 408, 409, 425, 429].includes(this.status) || this.status >= 500;
  }
}

export interface Created {
  session: SignallingSession;
  answer: string;
}

export class SignallingSession {
  readonly url: string;
  readonly links: Link[];
  #etag: string | null;
  #queue: Promise<unknown> = Promise.resolve();
  #ended: Promise<void> | null = null;

  private constructor(url: string, links: Link[], etag: string | null) {
    this.url = url;
    this.links = links;
    this.#etag = etag;
  }

  /** POSTs the offer. `token` is sent as Bearer. Throws `SignallingError`. */
  static async create(
    endpoint: string,
    offer: string,
    token: string | null,
    signal?: AbortSignal,
  ): Promise<Created> {
    const response = await request(endpoint, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/sdp',
        Accept: 'application/sdp, text/plain',
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
      },
      body: offer,
      signal: signal ?? null,
    });
    const location = response.headers.get('Location');
    if (response.status !== 201 || !location)
      throw new SignallingError(response.status, 'The answer names no session (Location).');
    const session = new SignallingSession(
      new URL(location, response.url).href,
      parseLinks(response.headers.get('Link'), response.url),
      response.headers.get('ETag'),
    );
    return { session, answer: await boundedText(response) };
  }

  get iceServers(): RTCIceServer[] {
    return iceServersFrom(this.links);
  }

  /** Where the session's events are asked for, if the server has the extension. */
  get eventsUrl(): string | null {
    return this.links.find(({ rel }) => rel.includes(EVENTS_EXTENSION))?.target ?? null;
  }

  /**
   * Asks for a layer of the video; null is automatic. False when the server does not take it. Throws
   * when it does not answer.
   */
  selectLayer(selection: LayerSelection | null): Promise<boolean> {
    const url = this.links.find(({ rel }) => rel.includes(LAYER_EXTENSION))?.target;
    if (!url) return Promise.resolve(false);
    const headers = { 'Content-Type': 'application/json' };
    const init = selection
      ? { method: 'POST', headers, body: JSON.stringify(selection) }
      : { method: 'DELETE' };
    return this.#enqueue(() =>
      request(url, init).then(
        () => true,
        (error: unknown) => {
          if (error instanceof SignallingError && error.status !== 0) return false;
          throw error;
        },
      ),
    );
  }

  /** Sends candidates. False when the server does not take them (405, 501), which is no error. */
  trickle(fragment: string): Promise<boolean> {
    return this.#enqueue(async () => {
      try {
        await this.#patch(fragment, this.#etag);
        return true;
      } catch (error) {
        if (error instanceof SignallingError && [405, 422, 501].includes(error.status)) return false;
        throw error;
      }
    });
  }

  /** Restarts ICE; returns the server's fragment. Throws where the server cannot: start anew then. */
  restart(fragment: string): Promise<string> {
    return this.#enqueue(async () => {
      const response = await this.#patch(fragment, '*');
      if (response.status !== 200)
        throw new SignallingError(response.status, 'The server did not restart ICE.');
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      return boundedText(response);
    });
  }

  /**
   * Ends the session on the server; outlives the page. Never throws: a session that cannot be
   * deleted ends by itself when its consent runs out.
   */
  end(): Promise<void> {
    this.#ended ??= fetch(this.url, { method: 'DELETE', keepalive: true }).then(
      () => undefined,
      () => undefined,
    );
    return this.#ended;
  }

  /**
   * Whether the server still knows the session. False says that it ended it on purpose; throws when
   * the server does not answer. Asked by an empty PATCH, which changes nothing.
   */
  async exists(signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#patch('', this.#etag, signal);
      return true;
    } catch (error) {
      if (error instanceof SignallingError && error.status !== 0) return error.status !== 404;
      throw error;
    }
  }

  async #patch(fragment: string, ifMatch: string | null, signal?: AbortSignal): Promise<Response> {
    return request(this.url, {
      method: 'PATCH',
      headers: {
        'Content-Type': 'application/trickle-ice-sdpfrag',
        ...(ifMatch ? { 'If-Match': ifMatch } : {}),
      },
      body: fragment,
      signal: signal ?? null,
    });
  }

  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task, task);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}

async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new SignallingError(0, error instanceof Error ? error.message : String(error));
  }
  if (response.ok) return response;
  const detail = (await boundedText(response).catch(() => '')).trim().slice(0, 600);
  const seconds = Number(response.headers.get('Retry-After') ?? Number.NaN);
  throw new SignallingError(
    response.status,
    detail || response.statusText,
    Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 60) * 1000 : null,
  );
}

async function boundedText(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return '';
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_ANSWER_CHARS) {
      void reader.cancel();
      throw new SignallingError(response.status, 'The answer is too long.');
    }
  }
}
