/**
 * Watches one stream by WHEP (draft-ietf-wish-whep): waits for it to start, plays it, and comes back
 * after a loss. A publisher that restarts is followed inside the same session; a new session is made
 * only when its media does not arrive.
 */
import { pause } from './backoff';
import { Connection, type LostReason } from './connection';
import { Emitter } from './emitter';
import { type LayerSelection, type Quality, qualities } from './layers';
import { keepConnected } from './reconnect';
import { ABS_CAPTURE_TIME, DEPENDENCY_DESCRIPTOR, withHeaderExtension, withStereoOpus } from './sdp';
import { SessionEvents } from './session-events';
import { SignallingError } from './signalling';

export interface WhepOptions {
  /** `…/api/whep/{accountId}/{streamName}`. */
  endpoint: string;
  /** Subscribe token, for streams that require one. */
  token?: string | null;
  sourceId?: string | null;
  iceServers?: RTCIceServer[];
}

export type WhepState =
  | { name: 'idle' }
  /** The stream is not live yet; the server is asked to tell. */
  | { name: 'waiting' }
  | { name: 'connecting' }
  /** Connected. Whether media flows is told by `live`. */
  | { name: 'playing' }
  | { name: 'reconnecting'; cause: LostReason | SignallingError | 'restart'; delay: number }
  | { name: 'ended'; ending: SignallingError | Error };

export interface WhepEvents {
  state: WhepState;
  /** The tracks to play; a new one for each connection. */
  stream: MediaStream;
  viewers: number;
  /** What may be chosen, best first; empty when there is no choice. */
  qualities: Quality[];
  /** The publisher is on (true) or off (false). */
  live: boolean;
}

const WAIT_SECONDS = 30;
const HIDDEN_POLL_MS = 5_000;
const RESUME_MS = 5_000;
/** Packets on their way when the publisher stopped do not mean that it is back. */
const STRAGGLERS_MS = 3_000;

export class Whep extends Emitter<WhepEvents> {
  readonly #options: WhepOptions;
  #connection: Connection | null = null;
  #events: SessionEvents | null = null;
  #abort: AbortController | null = null;
  #state: WhepState = { name: 'idle' };
  #live = false;
  #progress = -1;
  #progressTimer: ReturnType<typeof setInterval> | undefined;
  #silentSince = 0;
  #inactiveAt = Number.NEGATIVE_INFINITY;
  #selection: LayerSelection | null = null;

  constructor(options: WhepOptions) {
    super();
    this.#options = options;
  }

  get state(): WhepState {
    return this.#state;
  }

  get live(): boolean {
    return this.#live;
  }

  get peer(): RTCPeerConnection | null {
    return this.#connection?.peer ?? null;
  }

  /** Asks for a layer of the video, in this and every later connection; null is automatic. */
  select(selection: LayerSelection | null): void {
    this.#selection = selection;
    // A server that cannot be reached now is told with the next connection.
    void this.#connection?.session.selectLayer(selection).catch(() => undefined);
  }

  start(): void {
    if (this.#abort) return;
    this.#abort = new AbortController();
    this.#set({ name: 'connecting' });
    addEventListener('pagehide', this.#onPageHide);
    void this.#run(this.#abort.signal);
  }

  async stop(): Promise<void> {
    removeEventListener('pagehide', this.#onPageHide);
    const connection = this.#connection;
    this.#abort?.abort();
    this.#abort = null;
    this.#drop();
    this.#setLive(false);
    this.#set({ name: 'idle' });
    await connection?.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      const ending = await keepConnected({
        open: () => this.#open(signal),
        opened: (connection) => this.#opened(connection),
        connected: () => this.#set({ name: 'playing' }),
        waiting: (cause, delay) => {
          if (cause !== 'restart') this.#drop();
          this.#set({ name: 'reconnecting', cause, delay });
        },
        resume: async (cause) => !(cause instanceof SignallingError) || cause.transient,
        signal,
      });
      if (ending instanceof SignallingError) this.#end(ending);
    } catch (error) {
      if (!signal.aborted) this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** One connection, however long the stream takes to start. */
  async #open(signal: AbortSignal): Promise<Connection> {
    for (let wait = 0; ; wait = WAIT_SECONDS) {
      const asked = performance.now();
      try {
        return await this.#offer(document.hidden ? 0 : wait, signal);
      } catch (error) {
        if (!(error instanceof SignallingError) || error.status !== 409) throw error;
      }
      this.#setLive(false);
      this.#set({ name: 'waiting' });
      // A hidden page gives its connection back between two questions (see session-events.ts), and
      // a server that answers a wait at once is not asked in a tight loop.
      if (document.hidden) await untilVisible(HIDDEN_POLL_MS, signal);
      else if (wait > 0 && performance.now() - asked < 1_000) await pause(2_000, signal);
    }
  }

  #offer(wait: number, signal: AbortSignal): Promise<Connection> {
    const { endpoint, token, sourceId, iceServers } = this.#options;
    const url = new URL(endpoint, location.href);
    if (sourceId) url.searchParams.set('sourceId', sourceId);
    if (wait > 0) url.searchParams.set('wait', String(wait));
    const stream = new MediaStream();
    return Connection.open({
      endpoint: url.href,
      token: token ?? null,
      ...(iceServers ? { iceServers } : {}),
      prepare: (peer) => {
        for (const kind of ['video', 'audio'] as const) {
          const { receiver } = peer.addTransceiver(kind, { direction: 'recvonly' });
          playAtOnce(receiver);
        }
        peer.addEventListener('track', ({ track }) => {
          const add = () => {
            stream.addTrack(track);
            if (stream.getTracks().length === 1) this.emit('stream', stream);
          };
          // A video element waits for the first picture of every track it has: a stream without
          // video would stay silent. So video joins with its first packet.
          if (track.kind === 'video' && track.muted) track.addEventListener('unmute', add, { once: true });
          else add();
        });
      },
      offer: (sdp) =>
        withStereoOpus([ABS_CAPTURE_TIME, DEPENDENCY_DESCRIPTOR].reduce(withHeaderExtension, sdp)),
      signal,
    });
  }

  #opened(connection: Connection): void {
    this.#connection = connection;
    this.#setLive(true);
    this.#progress = -1;
    this.#silentSince = 0;
    clearInterval(this.#progressTimer);
    this.#progressTimer = setInterval(() => void this.#checkProgress(connection), 1_000);
    if (this.#selection) this.select(this.#selection);
    const url = connection.session.eventsUrl;
    if (!url) return;
    this.#events = new SessionEvents(url, (name, data) => {
      if (name === 'viewercount' && 'viewercount' in data) this.emit('viewers', data.viewercount);
      else if (name === 'layers') this.emit('qualities', qualities(data));
      else if (name === 'active') this.#onActive(data);
      else if (name === 'inactive' && this.#isOurs(data)) {
        this.#inactiveAt = performance.now();
        this.#setLive(false);
      }
    });
  }

  #onActive(data: object): void {
    if (!this.#isOurs(data)) return;
    if (!this.#live) this.#silentSince = performance.now();
    this.#setLive(true);
  }

  #isOurs(data: object): boolean {
    const sourceId = 'sourceId' in data ? data.sourceId : null;
    return (sourceId || null) === (this.#options.sourceId || null);
  }

  /** Media that moves means live, whatever was heard; live without media for long means start anew. */
  async #checkProgress(connection: Connection): Promise<void> {
    if (connection !== this.#connection) return;
    let received = 0;
    // Frames, not packets, of video: the server pads its retransmission stream to probe the network.
    for (const entry of (await connection.peer.getStats()).values())
      if (entry.type === 'inbound-rtp')
        received += (entry.kind === 'video' ? entry.framesReceived : entry.packetsReceived) ?? 0;
    if (connection !== this.#connection) return;
    const now = performance.now();
    if (received !== this.#progress) {
      const back = this.#progress >= 0 && now - this.#inactiveAt > STRAGGLERS_MS;
      if (back) this.#setLive(true);
      this.#progress = received;
      this.#silentSince = 0;
    } else if (this.#silentSince === 0) {
      this.#silentSince = now;
    } else if (this.#live && now - this.#silentSince > RESUME_MS) {
      this.#silentSince = 0;
      connection.fail(connection.connectedOnce ? 'network' : 'unreachable');
    }
  }

  #drop(): void {
    clearInterval(this.#progressTimer);
    this.#events?.close();
    this.#events = null;
    this.#connection = null;
  }

  #end(ending: SignallingError | Error): void {
    removeEventListener('pagehide', this.#onPageHide);
    this.#abort = null;
    this.#drop();
    this.#setLive(false);
    this.#set({ name: 'ended', ending });
  }

  #setLive(live: boolean): void {
    if (live === this.#live) return;
    this.#live = live;
    this.emit('live', live);
  }

  #set(state: WhepState): void {
    this.#state = state;
    this.emit('state', state);
  }

  /** A page that may come back from the back/forward cache starts over when it does. */
  readonly #onPageHide = ({ persisted }: PageTransitionEvent) => {
    void this.stop();
    if (persisted) addEventListener('pageshow', () => this.start(), { once: true });
  };
}

/** Asks for the shortest jitter buffer the network allows. */
function playAtOnce(receiver: RTCRtpReceiver): void {
  if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
  // Chromium before 124.
  else Object.assign(receiver, { playoutDelayHint: 0 });
}

function untilVisible(ms: number, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  const show = () => done.abort();
  document.addEventListener('visibilitychange', show, { once: true });
  const either = AbortSignal.any([signal, done.signal]);
  return pause(ms, either)
    .catch(() => signal.throwIfAborted())
    .finally(() => document.removeEventListener('visibilitychange', show));
}
