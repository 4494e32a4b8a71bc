/** Media settings of this browser: kept in localStorage, checked when read back. */
import { VIDEO_CODECS, type VideoCodec } from '$media/codecs';
import {
  BITRATES,
  CUSTOM_BITRATE,
  DEFAULT_BITRATE,
  defaultBitrate,
  FRAME_RATES,
  type FrameRate,
  MAX_KBPS,
  MIN_KBPS,
  RESOLUTIONS,
  type Resolution,
  simulcastLayers,
} from './presets';

const KEY = 'stagecast.broadcaster';

export class Settings {
  resolution = $state<Resolution>('720');
  frameRate = $state<FrameRate>(30);
  /** kbit/s of the list, or one of the two special values. */
  bitrate = $state<number>(DEFAULT_BITRATE);
  customKbps = $state(3000);
  codec = $state<VideoCodec>('vp8');
  echoCancellation = $state(true);
  stereo = $state(false);
  multisource = $state(false);
  sourceId = $state('');
  audioOnly = $state(false);
  /** Several sizes of the picture, where resolution and codec allow it. */
  simulcast = $state(true);
  mirror = $state(true);
  cameraId = $state<string | null>(null);
  microphoneId = $state<string | null>(null);

  /** `codecs` is what this browser can encode, best first. */
  constructor(codecs: VideoCodec[]) {
    this.codec = codecs[0] ?? 'vp8';
    this.#read(codecs);
    $effect.root(() => {
      $effect(() => this.#write());
    });
  }

  /** What the encoder may use at most, bit/s. */
  readonly maxBitrate = $derived.by(() => {
    if (this.bitrate === CUSTOM_BITRATE)
      return Math.min(MAX_KBPS, Math.max(MIN_KBPS, this.customKbps || 0)) * 1000;
    if (this.bitrate !== DEFAULT_BITRATE) return this.bitrate * 1000;
    return defaultBitrate(this.resolution, this.frameRate, this.codec);
  });

  /** How many sizes of the picture are sent. */
  readonly layers = $derived(this.simulcast ? simulcastLayers(this.resolution, this.codec) : 1);

  /** The source id to publish under; null for the main source. */
  readonly source = $derived(this.multisource && this.sourceId.trim() !== '' ? this.sourceId.trim() : null);

  #read(codecs: VideoCodec[]): void {
    const saved = stored();
    const pick = <T>(name: string, allowed: readonly T[], fallback: T): T =>
      allowed.find((value) => value === saved[name]) ?? fallback;
    const bool = (name: string, fallback: boolean) => pick(name, [true, false], fallback);
    this.resolution = pick(
      'resolution',
      RESOLUTIONS.map(({ value }) => value),
      this.resolution,
    );
    this.frameRate = pick('frameRate', FRAME_RATES, this.frameRate);
    this.bitrate = pick('bitrate', [DEFAULT_BITRATE, CUSTOM_BITRATE, ...BITRATES], this.bitrate);
    if (typeof saved.customKbps === 'number') this.customKbps = saved.customKbps;
    this.codec = pick(
      'codec',
      VIDEO_CODECS.filter((codec) => codecs.includes(codec)),
      this.codec,
    );
    this.echoCancellation = bool('echoCancellation', this.echoCancellation);
    this.stereo = bool('stereo', this.stereo);
    this.mirror = bool('mirror', this.mirror);
    this.simulcast = bool('simulcast', this.simulcast);
    if (typeof saved.cameraId === 'string') this.cameraId = saved.cameraId;
    if (typeof saved.microphoneId === 'string') this.microphoneId = saved.microphoneId;
  }

  /** Source id and audio-only belong to one broadcast: they are not kept for the next visit. */
  #write(): void {
    const { resolution, frameRate, bitrate, customKbps, codec, echoCancellation, stereo } = this;
    const { mirror, simulcast, cameraId, microphoneId } = this;
    const kept = { resolution, frameRate, bitrate, customKbps, codec, echoCancellation, stereo };
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...kept, mirror, simulcast, cameraId, microphoneId }));
    } catch {
      // A browser without storage starts from the defaults next time.
    }
  }
}

function stored(): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Empty stands for the main source. */
export function isSourceId(text: string): boolean {
  return /^[\w.-]*$/.test(text.trim());
}
