/** The video codecs of the platform, as this browser has them. */

export const VIDEO_CODECS = ['vp8', 'h264', 'vp9', 'av1', 'h265'] as const;
export type VideoCodec = (typeof VIDEO_CODECS)[number];

/** `video/H264` → `h264`; null for retransmission, redundancy and codecs the platform lacks. */
export function videoCodecOf(mimeType: string): VideoCodec | null {
  const name = mimeType.toLowerCase().replace(/^video\//, '');
  return VIDEO_CODECS.find((codec) => codec === name) ?? null;
}

/** What this browser can encode, in the platform's order: the widest readable first. */
export function publishableCodecs(): VideoCodec[] {
  if (typeof RTCRtpSender === 'undefined') return [];
  const own = new Set(
    (RTCRtpSender.getCapabilities('video')?.codecs ?? []).map(({ mimeType }) => videoCodecOf(mimeType)),
  );
  return VIDEO_CODECS.filter((codec) => own.has(codec));
}
