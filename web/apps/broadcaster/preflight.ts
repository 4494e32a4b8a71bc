/**
 * The one line above the controls: the most important thing that is wrong, in words, with the one
 * button that fixes it, or that all is well. Pure; the page turns `fix` into an action.
 */

import type { VideoCodec } from '$media/codecs';
import type { Device } from '$media/devices';
import type { PublishStats } from '$media/stats';
import { formatBitrate } from '$ui/format';
import { affordable, CODEC_NAMES, type FrameRate, type Resolution, sizeOf, smaller } from './presets';
import { strings } from './strings';

export type Fix =
  | { name: 'tokenSettings' }
  | { name: 'unmute' }
  | { name: 'microphone'; id: string }
  | { name: 'cameraOn' }
  | { name: 'resolution'; value: Resolution }
  | { name: 'settings' };

export interface Advice {
  level: 'ok' | 'warn';
  text: string;
  fix: { label: string; act: Fix } | null;
}

export interface Situation {
  live: boolean;
  reconnecting: boolean;
  tokenActive: boolean;
  tokenExpired: boolean;
  picture: 'camera' | 'screen' | 'pattern' | 'off';
  audioOnly: boolean;
  hasAudio: boolean;
  muted: boolean;
  /** Nothing was heard for some seconds although the microphone is on. */
  silent: boolean;
  otherMicrophone: Device | null;
  sourceIdBad: boolean;
  resolution: Resolution;
  frameRate: FrameRate;
  codec: VideoCodec;
  maxBitrate: number;
  /** ms on air; the encoder needs a while to find out what the network carries. */
  elapsed: number;
  stats: PublishStats | null;
}

const SETTLED_MS = 12_000;

/** Null while live and well: a broadcaster does not need to be told. */
export function advise(now: Situation): Advice | null {
  const words = strings.preflight;
  if (now.reconnecting) return warn(words.reconnecting);
  if (!now.live) {
    const settings = { label: words.tokenSettings, act: { name: 'tokenSettings' } } as const;
    if (!now.tokenActive) return warn(words.tokenDisabled, settings);
    if (now.tokenExpired) return warn(words.tokenExpired, settings);
    if (now.sourceIdBad) return warn(words.sourceBad, { label: words.open, act: { name: 'settings' } });
  }
  const sound = adviseSound(now);
  if (sound) return sound;
  if (now.live) return adviseLive(now);
  if (now.picture === 'off' && !now.audioOnly)
    return warn(words.cameraOff, { label: words.turnOn, act: { name: 'cameraOn' } });
  return { level: 'ok', text: words.allSet(summary(now)), fix: null };
}

function adviseSound(now: Situation): Advice | null {
  const words = strings.preflight;
  if (!now.hasAudio) return warn(words.noMicrophone);
  if (now.muted) return warn(words.muted, { label: words.unmute, act: { name: 'unmute' } });
  if (!now.silent || now.picture === 'pattern') return null;
  const other = now.otherMicrophone;
  return warn(
    words.silent,
    other && { label: words.useOther(other.label), act: { name: 'microphone', id: other.id } },
  );
}

function adviseLive(now: Situation): Advice | null {
  const words = strings.preflight;
  const { stats, resolution, frameRate, codec } = now;
  if (!stats?.limitedBy || now.audioOnly || now.picture === 'off' || now.elapsed < SETTLED_MS) return null;
  const reduced = stats.height !== null && stats.height < sizeOf(resolution).height * 0.8;
  if (!reduced) return null;
  const cheaper = smaller(resolution);
  if (stats.limitedBy === 'cpu' && cheaper)
    return warn(words.cpu(`${resolution}p`, `${cheaper}p`), useResolution(cheaper));
  if (stats.limitedBy !== 'bandwidth' || stats.available === null) return null;
  const fits = affordable(stats.available, frameRate, codec);
  if (Number(fits) >= Number(resolution)) return null;
  const rate = formatBitrate(stats.available);
  return warn(words.upload(rate, `${resolution}p`, `${fits}p`), useResolution(fits));
}

function summary({ audioOnly, resolution, frameRate, codec, maxBitrate }: Situation): string {
  if (audioOnly) return strings.panel.audioOnly.toLowerCase();
  return `${resolution}p, ${frameRate} fps, ${CODEC_NAMES[codec]}, ${formatBitrate(maxBitrate)}`;
}

function useResolution(value: Resolution): Advice['fix'] {
  return { label: strings.preflight.use(`${value}p`), act: { name: 'resolution', value } };
}

function warn(text: string, fix: Advice['fix'] = null): Advice {
  return { level: 'warn', text, fix };
}
