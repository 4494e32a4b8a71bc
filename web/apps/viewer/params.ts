/**
 * What the address of the hosted viewer asks for: `/viewer?streamId={account}/{stream}&…`. Names and
 * values are those of the players it replaces; a flag counts when it is named alone or is not `false`.
 */
export interface ViewerParams {
  accountId: string;
  streamName: string;
  /** Subscribe token, for streams that require one. */
  token: string | null;
  sourceId: string | null;
  muted: boolean;
  autoplay: boolean;
  /** False shows the picture alone. */
  controls: boolean;
  hidden: ReadonlySet<Part>;
  /** `High`, `Medium`, `Low` or a height; null is automatic. */
  startingQuality: string | null;
  /** How to play; null tries WebRTC first and HLS where it does not work. */
  protocol: 'webrtc' | 'hls' | null;
  /** Picture shown while the stream is off. */
  image: string | null;
}

export const PARTS = ['play', 'volume', 'fullscreen', 'pip', 'liveBadge', 'userCount', 'settings'] as const;
export type Part = (typeof PARTS)[number];

/** Null when no stream is named. */
export function readParams(search: string): ViewerParams | null {
  const query = new URLSearchParams(search);
  const streamId = query.get('streamId') ?? '';
  const slash = streamId.indexOf('/');
  if (slash < 1 || slash === streamId.length - 1) return null;
  const listed = (query.get('hideButtons') ?? '').split(',').map((part) => part.trim());
  const hidden = PARTS.filter((part) => listed.includes(part) || !flag(query, part, true));
  if (flag(query, 'disableSettings', false)) hidden.push('settings');
  return {
    accountId: streamId.slice(0, slash),
    streamName: streamId.slice(slash + 1),
    token: query.get('token') || null,
    sourceId: query.get('sourceId') || null,
    muted: flag(query, 'muted', false) || flag(query, 'mute', false),
    autoplay: flag(query, 'autoplay', true),
    controls: flag(query, 'controls', true),
    hidden: new Set(hidden),
    startingQuality: query.get('startingQuality') || null,
    protocol: protocolOf(query.get('protocol')),
    image: safeImage(query.get('image')),
  };
}

function flag(query: URLSearchParams, name: string, absent: boolean): boolean {
  const value = query.get(name);
  if (value === null) return absent;
  return !['false', '0', 'no'].includes(value.toLowerCase());
}

function protocolOf(value: string | null): ViewerParams['protocol'] {
  return value === 'webrtc' || value === 'hls' ? value : null;
}

function safeImage(url: string | null): string | null {
  return url && /^https?:\/\//i.test(url) ? url : null;
}
