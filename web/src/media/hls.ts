/**
 * Watches one stream by LL-HLS, with the same face as `Whep`: waits for it to start, plays it, comes
 * back after a loss. hls.js is loaded when it is needed and not before; browsers without Media Source
 * Extensions play the address themselves.
 */
import type HlsJs from 'hls.js';
import { pause } from './backoff';
import { Emitter } from './emitter';
import type { LayerSelection } from './layers';
import { levelOf, levelQualities } from './levels';
import { SignallingError } from './signalling';
import type { WhepEvents, WhepState } from './whep';

export interface HlsOptions {
  video: HTMLVideoElement;
  /** `…/manifest/video.m3u8`; asked for when playing starts. */
  address: () => Promise<string>;
  token?: string | null;
}

/** What can be seen again: seconds on the video's clock. */
export interface SeekRange {
  start: number;
  /** The newest that is played when nobody seeks. */
  live: number;
}

/** The level that stands for "the player chooses". */
const AUTO = -1;
const MIME = 'application/vnd.apple.mpegurl';
const WAIT_MS = 2_000;
const RETRY_MS = 1_000;
/** A window that is shorter, or has fewer segments, is only what live playback needs. */
const MIN_SEEKABLE_SECONDS = 45;
const MIN_SEEKABLE_SEGMENTS = 10;
/** Playing that starts this far behind where it should is moved there as soon as that is loaded, … */
const LATE_START_SECONDS = 0.3;
/** … which a player that has played for so long no longer does. */
const START_SECONDS = 5;
/** Answers that will not change by asking again. */
const FINAL = new Set([400, 401, 403]);

export class HlsFeed extends Emitter<WhepEvents> {
  readonly #options: HlsOptions;
  #hls: HlsJs | null = null;
  #abort: AbortController | null = null;
  #state: WhepState = { name: 'idle' };
  #live = false;
  #selection: LayerSelection | null = null;

  constructor(options: HlsOptions) {
    super();
    this.#options = options;
  }

  get state(): WhepState {
    return this.#state;
  }

  get live(): boolean {
    return this.#live;
  }

  /** HLS has no peer connection. */
  get peer(): null {
    return null;
  }

  /** Seconds behind the capture of what is shown, as the playlist tells; null when it does not. */
  get latency(): number | null {
    const date = this.#hls?.playingDate;
    return date ? Math.max(0, (Date.now() - date.getTime()) / 1000) : null;
  }

  /** What can be seen again, when there is more than live playback needs. */
  get seekable(): SeekRange | null {
    const { seekable } = this.#options.video;
    if (seekable.length === 0) return null;
    const start = seekable.start(0);
    const live = this.#hls?.liveSyncPosition ?? seekable.end(seekable.length - 1);
    const segment = this.#hls?.latestLevelDetails?.targetduration ?? 0;
    const least = Math.max(MIN_SEEKABLE_SECONDS, segment * MIN_SEEKABLE_SEGMENTS);
    return live - start >= least ? { start, live } : null;
  }

  /** Play this picture size until told otherwise, over new connections too; null is automatic. */
  select(selection: LayerSelection | null): void {
    this.#selection = selection;
    const hls = this.#hls;
    if (!hls || hls.levels.length === 0) return;
    const id = selection?.encodingId;
    const playing = hls.levels[hls.loadLevel]?.audioCodec;
    const level = id === undefined ? AUTO : levelOf(hls.levels, id, playing);
    if (level !== (hls.autoLevelEnabled ? AUTO : hls.loadLevel)) hls.nextLevel = level;
  }

  start(): void {
    if (this.#abort) return;
    this.#abort = new AbortController();
    this.#set({ name: 'connecting' });
    void this.#run(this.#abort.signal);
  }

  async stop(): Promise<void> {
    this.#abort?.abort();
    this.#abort = null;
    this.#drop();
    this.#setLive(false);
    this.#set({ name: 'idle' });
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const reached = await this.#playOnce(signal);
        this.#drop();
        this.#setLive(false);
        this.#set(
          reached === 'played'
            ? { name: 'reconnecting', cause: 'network', delay: RETRY_MS }
            : { name: 'waiting' },
        );
        await pause(reached === 'played' ? RETRY_MS : WAIT_MS, signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#abort = null;
      this.#drop();
      this.#setLive(false);
      this.#set({ name: 'ended', ending: error instanceof Error ? error : new Error(String(error)) });
    }
  }

  /** Plays until there is nothing to play, or no longer. */
  async #playOnce(signal: AbortSignal): Promise<'waiting' | 'ended' | 'played'> {
    // A server that is away for a moment does not tell where it plays.
    const address = await this.#options.address().catch(() => null);
    signal.throwIfAborted();
    if (address === null) return 'waiting';
    const url = new URL(address, location.href);
    if (this.#options.token) url.searchParams.set('token', this.#options.token);
    // Asked first, as a player's errors do not tell "not live" from "not allowed".
    const answer = await fetch(url, { signal }).catch(() => null);
    if (!answer) return 'waiting';
    if (FINAL.has(answer.status)) throw new SignallingError(answer.status, await answer.text());
    if (!answer.ok) return 'waiting';
    const { default: Hls } = await import('hls.js');
    signal.throwIfAborted();
    if (Hls.isSupported()) return this.#playWith(Hls, url.href, signal);
    return (await isOver(url, await answer.text(), signal))
      ? 'waiting'
      : this.#playNatively(url.href, signal);
  }

  #playWith(Hls: typeof HlsJs, url: string, signal: AbortSignal): Promise<'waiting' | 'ended' | 'played'> {
    const hls = new Hls({
      enableWorker: false,
      lowLatencyMode: true,
      backBufferLength: 60,
      // A player that has fallen behind catches up so gently that nobody hears it.
      maxLiveSyncPlaybackRate: 1.04,
    });
    this.#hls = hls;
    return new Promise((resolve, reject) => {
      let recovered = 0;
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      const tellQualities = () => this.emit('qualities', levelQualities(hls.levels));
      hls.on(Hls.Events.LEVELS_UPDATED, tellQualities);
      hls.on(Hls.Events.MANIFEST_PARSED, () => {
        tellQualities();
        if (this.#selection) this.select(this.#selection);
      });
      hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
        // What is over already is not played again; what ends meanwhile is played to its end.
        if (!details.live && !this.#live && this.#state.name !== 'playing') resolve('waiting');
      });
      hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
        this.#setLive(details.live);
      });
      hls.on(Hls.Events.FRAG_BUFFERED, () => {
        if (this.#state.name !== 'playing') this.#set({ name: 'playing' });
        this.#startLive(hls);
      });
      hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
        if (!fatal) return;
        recovered += 1;
        if (type === Hls.ErrorTypes.MEDIA_ERROR && recovered <= 3) hls.recoverMediaError();
        else resolve('played');
      });
      this.#options.video.addEventListener('ended', () => resolve('ended'), { once: true, signal });
      hls.attachMedia(this.#options.video);
      hls.loadSource(url);
    });
  }

  /** What was loaded first has become old while the rest was: begin with what is new. */
  #startLive(hls: HlsJs): void {
    const { video } = this.#options;
    const { played, buffered } = video;
    const live = hls.liveSyncPosition;
    if (played.length !== 1 || played.end(0) - played.start(0) > START_SECONDS) return;
    if (live === null || live - video.currentTime < LATE_START_SECONDS) return;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= video.currentTime && live < buffered.end(i)) video.currentTime = live;
    }
  }

  #playNatively(url: string, signal: AbortSignal): Promise<'ended' | 'played'> {
    const { video } = this.#options;
    if (!video.canPlayType(MIME)) throw new Error('This browser has no Media Source Extensions.');
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      video.addEventListener('ended', () => resolve('ended'), { once: true, signal });
      video.addEventListener('error', () => resolve('played'), { once: true, signal });
      video.addEventListener(
        'playing',
        () => {
          this.#setLive(true);
          this.#set({ name: 'playing' });
        },
        { once: true, signal },
      );
      video.src = url;
    });
  }

  #drop(): void {
    this.#hls?.destroy();
    this.#hls = null;
    this.#options.video.removeAttribute('src');
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
}

/** Whether a broadcast has ended: its first media playlist says so. */
async function isOver(url: URL, text: string, signal: AbortSignal): Promise<boolean> {
  const first = text.split('\n').find((line) => line !== '' && !line.startsWith('#'));
  if (first === undefined) return false;
  const answer = await fetch(new URL(first, url), { signal }).catch(() => null);
  return answer?.ok === true && (await answer.text()).includes('#EXT-X-ENDLIST');
}
