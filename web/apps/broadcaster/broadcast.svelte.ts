/**
 * The broadcast itself: starts and stops the publisher, keeps it fed with the current tracks and
 * settings, and holds what is shown about it.
 */
import { connectionQuality, type Quality } from '$media/quality';
import { type PublishStats, StatsSampler } from '$media/stats';
import { Whip, type WhipState } from '$media/whip';
import type { Inputs } from './inputs.svelte';
import type { Settings } from './settings.svelte';

export interface Target {
  streamName: string;
  token: string;
}

export class Broadcast {
  state = $state.raw<WhipState>({ name: 'idle' });
  viewers = $state<number | null>(null);
  stats = $state.raw<PublishStats | null>(null);
  quality = $state<Quality>(0);
  /** ms on air */
  elapsed = $state(0);

  readonly #target: Target;
  readonly #inputs: Inputs;
  readonly #settings: Settings;
  readonly #sampler = new StatsSampler();
  #whip: Whip | null = null;
  #since: number | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(target: Target, inputs: Inputs, settings: Settings) {
    this.#target = target;
    this.#inputs = inputs;
    this.#settings = settings;
  }

  /** From pressing Start to pressing Stop, interruptions included. */
  readonly running = $derived(!['idle', 'ended'].includes(this.state.name));
  /** On air at least once since Start. */
  readonly onAir = $derived(
    this.state.name === 'live' || (this.state.name === 'reconnecting' && this.elapsed > 0),
  );

  start(): void {
    if (this.running) return;
    const { codec, source, stereo, audioOnly, layers } = this.#settings;
    const whip = new Whip(
      {
        endpoint: `/api/whip/${encodeURIComponent(this.#target.streamName)}`,
        token: this.#target.token,
        sourceId: source,
        codec,
        stereo,
        audioOnly,
        layers: this.#inputs.picture === 'screen' ? 1 : layers,
      },
      { audio: this.#inputs.audio, video: audioOnly ? null : this.#inputs.video },
      this.#encoding(),
    );
    this.#whip = whip;
    this.elapsed = 0;
    this.#since = null;
    whip.on('viewers', (count) => {
      this.viewers = count;
    });
    whip.on('state', (state) => this.#onState(whip, state));
    whip.start();
    addEventListener('beforeunload', warn);
    this.#timer = setInterval(() => void this.#tick(whip), 1_000);
  }

  async stop(): Promise<void> {
    const whip = this.#whip;
    this.#reset();
    this.state = { name: 'idle' };
    await whip?.stop();
  }

  /** The tracks changed. */
  async feed(): Promise<void> {
    await this.#whip?.setTrack('audio', this.#inputs.audio);
    if (this.#settings.audioOnly) return;
    await this.#whip?.setTrack('video', this.#inputs.video);
    await this.retune();
  }

  /** Bitrate, frame rate or kind of picture changed. */
  async retune(): Promise<void> {
    await this.#whip?.setEncoding(this.#encoding());
  }

  #encoding() {
    const { maxBitrate, frameRate } = this.#settings;
    const degradationPreference: RTCDegradationPreference =
      this.#inputs.picture === 'screen' ? 'maintain-resolution' : 'maintain-framerate';
    return { maxBitrate, maxFramerate: frameRate, degradationPreference };
  }

  #onState(whip: Whip, state: WhipState): void {
    if (whip !== this.#whip) return;
    this.state = state;
    if (state.name === 'live') this.#since ??= Date.now();
    if (state.name === 'reconnecting') this.quality = 0;
    if (state.name === 'ended') this.#reset();
  }

  async #tick(whip: Whip): Promise<void> {
    if (this.#since !== null) this.elapsed = Math.max(1, Date.now() - this.#since);
    const { peer } = whip;
    if (!peer) return;
    const stats = await this.#sampler.publish(peer);
    if (whip !== this.#whip) return;
    this.stats = stats;
    // An encoder that is still finding its rate is limited too: only a low estimate means the network.
    const enough = stats.available === null || stats.available > this.#settings.maxBitrate * 0.6;
    const starved = stats.limitedBy === 'bandwidth' && !enough;
    this.quality = connectionQuality({ rtt: stats.rtt, loss: stats.loss, starved });
  }

  #reset(): void {
    clearInterval(this.#timer);
    removeEventListener('beforeunload', warn);
    this.#whip = null;
    this.#since = null;
    this.stats = null;
    this.viewers = null;
    this.quality = 0;
  }
}

/** The browser asks in its own words whether to leave. */
function warn(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
