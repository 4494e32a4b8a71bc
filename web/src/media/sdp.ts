/**
 * The few changes made to session descriptions (RFC 8866), each a pure function from text to text.
 * Everything a browser API can do instead (codec order, directions, bitrates) is done there.
 */

/** Tells what each packet of a scalable video is needed for; AV1 with spatial layers is not decoded without. */
export const DEPENDENCY_DESCRIPTOR =
  'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';
export const ABS_CAPTURE_TIME = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';

export interface IceCredentials {
  ufrag: string;
  pwd: string;
}

/** The session part and the media sections, each with its line endings. */
export function sections(sdp: string): string[] {
  return sdp.split(/(?=^m=)/m);
}

/** Credentials of the first section that has them: all sections of a bundle share them. */
export function iceCredentials(sdp: string): IceCredentials | null {
  const ufrag = /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];
  const pwd = /^a=ice-pwd:(\S+)/m.exec(sdp)?.[1];
  return ufrag && pwd ? { ufrag, pwd } : null;
}

/** An ICE-lite peer learns our candidates from the checks themselves (RFC 8445 §2.5). */
export function isIceLite(sdp: string): boolean {
  return /^a=ice-lite\s*$/m.test(sdp);
}

/** Says that Opus is sent and wanted in stereo (RFC 7587 §6.1); browsers offer mono. */
export function withStereoOpus(sdp: string): string {
  return sections(sdp)
    .map((section) => {
      const payloadType = /^a=rtpmap:(\d+) opus\/48000\/2/im.exec(section)?.[1];
      if (!section.startsWith('m=audio') || !payloadType) return section;
      const fmtp = new RegExp(`^a=fmtp:${payloadType} ([^\\r\\n]*)`, 'm');
      const match = fmtp.exec(section);
      if (!match) {
        return section.replace(
          new RegExp(`^(a=rtpmap:${payloadType} [^\\r\\n]*)(\\r?\\n)`, 'm'),
          `$1$2a=fmtp:${payloadType} stereo=1;sprop-stereo=1$2`,
        );
      }
      const params = (match[1] ?? '')
        .split(';')
        .map((param) => param.trim())
        .filter((param) => param !== '' && !/^(sprop-)?stereo=/i.test(param));
      const line = `a=fmtp:${payloadType} ${[...params, 'stereo=1', 'sprop-stereo=1'].join(';')}`;
      return section.replace(fmtp, () => line);
    })
    .join('');
}

/**
 * Offers a header extension in every audio and video section that lacks it, under one id for the
 * whole bundle (RFC 8285 §6, RFC 9143 §9.2). Unchanged when the one-byte ids 1–14 are used up.
 */
export function withHeaderExtension(sdp: string, uri: string): string {
  const used = new Map<string, string>();
  for (const [, id = '', name = ''] of sdp.matchAll(/^a=extmap:(\d+)(?:\/\w+)? (\S+)/gm)) used.set(id, name);
  const known = [...used].find(([, name]) => name === uri)?.[0];
  const id = known ?? Array.from({ length: 14 }, (_, i) => String(i + 1)).find((free) => !used.has(free));
  if (id === undefined) return sdp;
  return sections(sdp)
    .map((section) => {
      if (!/^m=(audio|video)/.test(section) || section.includes(uri)) return section;
      return section.replace(
        /^(a=(?:extmap|mid):[^\r\n]*)(\r?\n)/m,
        (_, line: string, end: string) => `${line}${end}a=extmap:${id} ${uri}${end}`,
      );
    })
    .join('');
}

/**
 * Tells Chromium at which bitrate its video encoder may begin. It would begin at 300 kbit/s and need
 * ten seconds and more to reach a large picture; other browsers ignore the parameter. For the answer.
 */
export function withStartBitrate(sdp: string, bitsPerSecond: number): string {
  const parameter = `x-google-start-bitrate=${Math.round(bitsPerSecond / 1000)}`;
  return sections(sdp)
    .map((section) => {
      if (!section.startsWith('m=video')) return section;
      return section
        .replace(
          /^(a=rtpmap:(\d+) (?:VP8|VP9|H264|H265|AV1)\/90000[^\r\n]*)(\r?\n)/gim,
          (line, _map: string, payloadType: string, end: string) =>
            new RegExp(`^a=fmtp:${payloadType} `, 'm').test(section)
              ? line
              : `${line}a=fmtp:${payloadType} ${parameter}${end}`,
        )
        .replace(
          /^(a=fmtp:(\d+) (?!.*x-google-start-bitrate)[^\r\n]*)/gm,
          (line, _fmtp: string, payloadType: string) =>
            isVideoCodec(section, payloadType) ? `${line};${parameter}` : line,
        );
    })
    .join('');
}

function isVideoCodec(section: string, payloadType: string): boolean {
  return new RegExp(`^a=rtpmap:${payloadType} (?:VP8|VP9|H264|H265|AV1)/90000`, 'im').test(section);
}
