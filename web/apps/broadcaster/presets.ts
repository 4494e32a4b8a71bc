/** The choices of the settings panel, and what "default" means for each of them. */
import type { VideoCodec } from '$media/codecs';

export const RESOLUTIONS = [
  { value: '2160', label: '2160p · 3840×2160', width: 3840, height: 2160 },
  { value: '1440', label: '1440p · 2560×1440', width: 2560, height: 1440 },
  { value: '1080', label: '1080p · 1920×1080', width: 1920, height: 1080 },
  { value: '720', label: '720p · 1280×720', width: 1280, height: 720 },
  { value: '480', label: '480p · 854×480', width: 854, height: 480 },
  { value: '360', label: '360p · 640×360', width: 640, height: 360 },
] as const;
export type Resolution = (typeof RESOLUTIONS)[number]['value'];

export const FRAME_RATES = [60, 50, 30, 25, 24, 15] as const;
export type FrameRate = (typeof FRAME_RATES)[number];

/** kbit/s; 0 stands for "default", -1 for "custom". */
export const BITRATES = [8000, 6000, 4000, 2500, 2000, 1000, 500, 250, 125] as const;
export const DEFAULT_BITRATE = 0;
export const CUSTOM_BITRATE = -1;
export const MIN_KBPS = 50;
export const MAX_KBPS = 50_000;

export const CODEC_NAMES: Record<VideoCodec, string> = {
  vp8: 'VP8',
  h264: 'H264',
  vp9: 'VP9',
  av1: 'AV1',
  h265: 'H265',
};

export function sizeOf(resolution: Resolution): { width: number; height: number } {
  const found = RESOLUTIONS.find(({ value }) => value === resolution);
  return found ?? { width: 1280, height: 720 };
}

/** The largest listed resolution that a picture of this height fills, for cameras that give less. */
export function resolutionFor(height: number): Resolution {
  return RESOLUTIONS.find((entry) => entry.height <= height)?.value ?? '360';
}

export function smaller(resolution: Resolution): Resolution | null {
  const index = RESOLUTIONS.findIndex(({ value }) => value === resolution);
  return RESOLUTIONS[index + 1]?.value ?? null;
}

/** What a picture needs to look good at 30 frames a second, bit/s; H264 and VP8 alike. */
const NEEDS: Record<Resolution, number> = {
  '2160': 14_000_000,
  '1440': 8_000_000,
  '1080': 4_500_000,
  '720': 2_500_000,
  '480': 1_200_000,
  '360': 700_000,
};

/** The default bitrate, bit/s: newer codecs need less, more frames need more. */
export function defaultBitrate(resolution: Resolution, frameRate: number, codec: VideoCodec): number {
  const byCodec = codec === 'vp8' || codec === 'h264' ? 1 : 0.7;
  const byRate = frameRate > 30 ? 1.5 : 1;
  return Math.round((NEEDS[resolution] * byCodec * byRate) / 50_000) * 50_000;
}

/**
 * How many sizes of the picture simulcast sends: three from 540 lines on, of codecs that every browser
 * sends so. Smaller pictures are one size.
 */
export function simulcastLayers(resolution: Resolution, codec: VideoCodec): number {
  return sizeOf(resolution).height >= 540 && (codec === 'vp8' || codec === 'h264') ? 3 : 1;
}

/** The largest resolution that still looks good with what the network carries. */
export function affordable(available: number, frameRate: number, codec: VideoCodec): Resolution {
  const fits = RESOLUTIONS.find(({ value }) => defaultBitrate(value, frameRate, codec) * 0.75 <= available);
  return fits?.value ?? '360';
}
