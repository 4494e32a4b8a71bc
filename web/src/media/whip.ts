/**
 * Publishes one audio and one video track by WHIP (RFC 9725) and keeps doing so: after a network
 * loss it opens a new session, which replaces the old one on the server, so that viewers go on. It
 * does not come back when the server ended the session on purpose (someone stopped the stream, or
 * another publisher took its place): two publishers would otherwise throw each other out for ever.
 */
import { type VideoCodec, videoCodecOf } from './codecs';
import { Connection, type LostReason } from './connection';
import { Emitter } from './emitter';
import { type Ending, keepConnected } from './reconnect';
import { ABS_CAPTURE_TIME, withHeaderExtension, withStartBitrate, withStereoOpus } from './sdp';
import { SessionEvents, type StreamEvents } from './session-events';
import { SignallingError } from './signalling';

export interface WhipOptions {
  /** `…/api/whip/{streamName}`, without publishing parameters. */
  endpoint: string;
  token: string;
  /** Empty or null publishes the main source. */
  sourceId?: string | null;
  codec?: VideoCodec | null;
  /** Two Opus channels; needs a stereo track without echo cancellation. */
  stereo?: boolean;
  /** Leaves the video section out altogether. */
  audioOnly?: boolean;
  /** Sends the picture in this many sizes, each half as wide as the one before, for viewers to choose from. */
  layers?: number;
  iceServers?: RTCIceServer[];
}

/** How the video encoder is asked to spend what it has. All of it can change while live. */
export interface Encoding {
  /** bit/s; null leaves it to the browser. */
  maxBitrate: number | null;
  /** Frames a second; null leaves it to the track. */
  maxFramerate: number | null;
  degradationPreference: RTCDegradationPreference;
}

export type WhipState =
  | { name: 'idle' }
  | { name: 'connecting' }
  | { name: 'live' }
  | { name: 'reconnecting'; cause: LostReason | SignallingError | 'restart'; delay: number }
  /** Over without being asked; see `ending`. */
  | { name: 'ended'; ending: Exclude<Ending, 'stopped'> | 'replaced' | Error };

interface WhipEvents {
  state: WhipState;
  viewers: number;
}

/** Simulcast encodings, smallest first: a name, the size as a divisor, the share of the bitrate. */
const LAYERS = [
  { rid: 'q', scale: 4, share: 0.07 },
  { rid: 'h', scale: 2, share: 0.23 },
  { rid: 'f', scale: 1, share: 0.7 },
] as const;

/** A weak upload still recovers from this in a second or two. */
const START_MAX = 2_500_000;

export class Whip extends Emitter<WhipEvents> {
  readonly #options: WhipOptions;
  readonly #tracks: { audio: MediaStreamTrack | null; video: MediaStreamTrack | null };
  #encoding: Encoding;
  #connection: Connection | null = null;
  #events: SessionEvents | null = null;
  /** Names of encodings that nobody needs. */
  #unwanted = new Set<string>();
  /** Parameters of a sender are read, changed and written by one at a time. */
  #applying: Promise<void> = Promise.resolve();
  #abort: AbortController | null = null;
  #wasLive = false;
  #state: WhipState = { name: 'idle' };

  constructor(
    options: WhipOptions,
    tracks: { audio: MediaStreamTrack | null; video: MediaStreamTrack | null },
    encoding: Encoding,
  ) {
    super();
    this.#options = options;
    this.#tracks = { ...tracks };
    this.#encoding = encoding;
  }

  get state(): WhipState {
    return this.#state;
  }

  get peer(): RTCPeerConnection | null {
    return this.#connection?.peer ?? null;
  }

  /** Goes live and stays live until `stop`. What happens is told by `state`. */
  start(): void {
    if (this.#abort) return;
    const abort = new AbortController();
    this.#abort = abort;
    this.#set({ name: 'connecting' });
    addEventListener('pagehide', this.#onPageHide);
    void this.#run(abort.signal);
  }

  /** Ends the session on the server. */
  async stop(): Promise<void> {
    removeEventListener('pagehide', this.#onPageHide);
    const connection = this.#connection;
    this.#abort?.abort();
    this.#abort = null;
    this.#drop();
    this.#set({ name: 'idle' });
    await connection?.close();
  }

  /** Sends another track, or nothing, without a new session. */
  async setTrack(kind: 'audio' | 'video', track: MediaStreamTrack | null): Promise<void> {
    this.#tracks[kind] = track;
    const sender = this.#sender(kind);
    if (sender) await sender.replaceTrack(track);
    if (sender && kind === 'video') await this.#applyEncoding(sender);
  }

  async setEncoding(encoding: Encoding): Promise<void> {
    this.#encoding = encoding;
    const sender = this.#sender('video');
    if (sender) await this.#applyEncoding(sender);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let ending: Ending | Error;
    try {
      ending = await keepConnected({
        open: () => this.#open(signal),
        opened: (connection) => this.#opened(connection),
        connected: () => {
          this.#wasLive = true;
          this.#set({ name: 'live' });
        },
        waiting: (cause, delay) => {
          if (delay > 0) this.#drop();
          this.#set({ name: 'reconnecting', cause, delay });
        },
        resume: (cause, connection) => this.#resume(cause, connection, signal),
        signal,
      });
    } catch (error) {
      ending = error instanceof Error ? error : new Error(String(error));
    }
    if (ending === 'stopped' || signal.aborted) return;
    removeEventListener('pagehide', this.#onPageHide);
    this.#abort = null;
    this.#drop();
    this.#set({ name: 'ended', ending: ending === 'closed' ? 'replaced' : ending });
  }

  #open(signal: AbortSignal): Promise<Connection> {
    const { endpoint, token, codec, sourceId, stereo, audioOnly, iceServers } = this.#options;
    const url = new URL(endpoint, location.href);
    if (codec && !audioOnly) url.searchParams.set('codec', codec);
    if (sourceId) url.searchParams.set('sourceId', sourceId);
    return Connection.open({
      endpoint: url.href,
      token,
      ...(iceServers ? { iceServers } : {}),
      prepare: (peer) => {
        this.#addTrack(peer, 'audio');
        if (!audioOnly) this.#addTrack(peer, 'video');
      },
      offer: (sdp) => {
        const timed = withHeaderExtension(sdp, ABS_CAPTURE_TIME);
        return stereo ? withStereoOpus(timed) : timed;
      },
      answer: (sdp) => {
        const { maxBitrate } = this.#encoding;
        const fast = maxBitrate ? withStartBitrate(sdp, Math.min(START_MAX, maxBitrate * 0.7)) : sdp;
        return stereo ? withStereoOpus(fast) : fast;
      },
      signal,
    });
  }

  /** A kind without a track is offered too, so that it can be switched on while live. */
  #addTrack(peer: RTCPeerConnection, kind: 'audio' | 'video'): void {
    const track = this.#tracks[kind];
    const transceiver = peer.addTransceiver(track ?? kind, {
      direction: 'sendonly',
      ...(track ? { streams: [new MediaStream([track])] } : {}),
      ...(kind === 'video' ? { sendEncodings: this.#sendEncodings() } : {}),
    });
    if (kind === 'video' && this.#options.codec) preferCodec(transceiver, this.#options.codec);
  }

  #sendEncodings(): RTCRtpEncodingParameters[] {
    const layers = LAYERS.slice(-Math.min(this.#options.layers ?? 1, LAYERS.length));
    const maxBitrates = shares(this.#encoding.maxBitrate, layers.length);
    return layers.map(({ rid, scale }, index) => ({
      ...(layers.length > 1 ? { rid, scaleResolutionDownBy: scale } : {}),
      ...(maxBitrates ? { maxBitrate: maxBitrates[index] } : {}),
    }));
  }

  #opened(connection: Connection): void {
    this.#connection = connection;
    const sender = this.#sender('video');
    if (sender) void this.#applyEncoding(sender);
    const url = connection.session.eventsUrl;
    if (!url) return;
    const hear = (name: string, data: object) => {
      if (name === 'viewercount' && 'viewercount' in data) this.emit('viewers', Number(data.viewercount));
      if (name === 'wantedlayers') void this.#leaveOut(unwantedOf(data));
    };
    const names = ['viewercount', 'wantedlayers'] as const;
    // Who does not hear when a layer is needed again must send it.
    this.#events = new SessionEvents(url, hear, { names, always: true, lost: () => void this.#leaveOut([]) });
  }

  /** Sends all encodings but these. */
  async #leaveOut(unwanted: readonly string[]): Promise<void> {
    this.#unwanted = new Set(unwanted);
    const sender = this.#sender('video');
    if (sender) await this.#applyEncoding(sender);
  }

  async #resume(
    cause: LostReason | SignallingError,
    connection: Connection | null,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (cause instanceof SignallingError) return cause.transient;
    // Never connected: more attempts would only hide a firewall from the person.
    if (cause === 'unreachable') return this.#wasLive;
    if (cause === 'closed' && connection) return connection.session.exists(signal);
    return true;
  }

  #sender(kind: 'audio' | 'video'): RTCRtpSender | null {
    const transceivers = this.#connection?.peer.getTransceivers() ?? [];
    return transceivers.find(({ receiver }) => receiver.track.kind === kind)?.sender ?? null;
  }

  #applyEncoding(sender: RTCRtpSender): Promise<void> {
    const write = () => this.#writeEncoding(sender);
    this.#applying = this.#applying.then(write, write);
    return this.#applying;
  }

  async #writeEncoding(sender: RTCRtpSender): Promise<void> {
    const parameters = sender.getParameters();
    const { encodings } = parameters;
    if (encodings.length === 0) return;
    const { maxBitrate, maxFramerate, degradationPreference } = this.#encoding;
    const maxBitrates = shares(maxBitrate, encodings.length);
    for (const [index, encoding] of encodings.entries()) {
      const most = maxBitrates?.[index];
      if (most) encoding.maxBitrate = most;
      else delete encoding.maxBitrate;
      if (maxFramerate) encoding.maxFramerate = maxFramerate;
      else delete encoding.maxFramerate;
      encoding.active = !this.#unwanted.has(encoding.rid ?? '');
    }
    parameters.degradationPreference = degradationPreference;
    // A connection that closes meanwhile refuses: the next one starts with these values.
    await sender.setParameters(parameters).catch(() => undefined);
  }

  #drop(): void {
    this.#events?.close();
    this.#events = null;
    this.#unwanted.clear();
    this.#connection = null;
  }

  #set(state: WhipState): void {
    this.#state = state;
    this.emit('state', state);
  }

  readonly #onPageHide = () => {
    void this.stop();
  };
}

/** Reads the data of a `wantedlayers` event: the encodings that nobody needs, never all of them. */
export function unwantedOf(data: object): string[] {
  const { medias } = data as StreamEvents['wantedlayers'];
  // One track of video is published.
  const media = Object.values(medias ?? {})[0];
  const names = (list: unknown) =>
    Array.isArray(list) ? list.filter((name) => typeof name === 'string') : [];
  return names(media?.wanted).length > 0 ? names(media?.unwanted) : [];
}

/** What each of `count` encodings may use of a bitrate, smallest first. */
function shares(maxBitrate: number | null, count: number): number[] | null {
  if (!maxBitrate) return null;
  const layers = LAYERS.slice(-count);
  const whole = layers.reduce((sum, { share }) => sum + share, 0);
  return layers.map(({ share }) => Math.round((maxBitrate * share) / whole));
}

function preferCodec(transceiver: RTCRtpTransceiver, codec: VideoCodec): void {
  const all = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const wanted = all.filter(({ mimeType }) => videoCodecOf(mimeType) === codec);
  if (wanted.length === 0) return;
  const rest = all.filter((entry) => !wanted.includes(entry));
  transceiver.setCodecPreferences([...wanted, ...rest]);
}
