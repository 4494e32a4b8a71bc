/**
 * Numbers and times in words, the same in every app. Units are decimal (1 Mbit/s = 1,000,000 bit/s).
 * A value that is not known is a dash, never a zero.
 */
const NONE = '–';

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** 3 significant digits at most: 2.41, 24.1, 241. */
function short(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return Number(value.toFixed(digits)).toLocaleString('en', { maximumFractionDigits: digits });
}

/** Bits per second, as in "2.4 Mbit/s". */
export function formatBitrate(bps: Maybe): string {
  if (!known(bps)) return NONE;
  if (bps >= 1e9) return `${short(bps / 1e9)} Gbit/s`;
  if (bps >= 1e6) return `${short(bps / 1e6)} Mbit/s`;
  if (bps >= 1e3) return `${Math.round(bps / 1e3)} kbit/s`;
  return `${Math.round(bps)} bit/s`;
}

export function formatCount(count: Maybe): string {
  return known(count) ? Math.round(count).toLocaleString('en') : NONE;
}

export function formatFps(fps: Maybe): string {
  return known(fps) ? `${short(Math.round(fps * 10) / 10)} fps` : NONE;
}

/** A ratio 0..1, as in "1.2 %". */
export function formatRatio(ratio: Maybe): string {
  if (!known(ratio)) return NONE;
  const percent = ratio * 100;
  if (percent > 0 && percent < 0.01) return '< 0.01 %';
  return `${short(percent)} %`;
}

export function formatMilliseconds(ms: Maybe): string {
  if (!known(ms)) return NONE;
  return ms < 10 ? `${short(ms)} ms` : `${Math.round(ms)} ms`;
}

export function formatResolution(width: Maybe, height: Maybe): string {
  return known(width) && known(height) && width > 0 && height > 0 ? `${width}×${height}` : NONE;
}

/** A length of time in the two largest units: "42 s", "3 min 5 s", "1 h 12 min", "2 d 4 h". */
export function formatDuration(seconds: Maybe): string {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  const pair = (big: number, bigUnit: string, small: number, smallUnit: string) =>
    small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return pair(Math.floor(s / 60), 'min', s % 60, 's');
  if (s < 86_400) return pair(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min');
  return pair(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3600), 'h');
}

/** The clock of a running broadcast: "0:07", "12:45", "1:02:33". */
export function formatTimecode(seconds: Maybe): string {
  if (!known(seconds)) return '0:00';
  const s = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes}:${two(s % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(s % 60)}`;
}

type When = Date | string | number | null | undefined;

/** Reads an ISO time or milliseconds. A time without a zone is UTC, as the API sends it. */
export function toDate(when: When): Date | null {
  if (when === null || when === undefined || when === '') return null;
  if (when instanceof Date) return Number.isNaN(when.getTime()) ? null : when;
  const zoned =
    typeof when === 'string' && /T/.test(when) && !/(Z|[+-]\d\d:?\d\d)$/i.test(when) ? `${when}Z` : when;
  const date = new Date(zoned);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** "21 Nov 2026, 07:26" in the reader's zone. */
export function formatDateTime(when: When): string {
  const date = toDate(when);
  if (!date) return NONE;
  return date.toLocaleString('en-GB', {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  });
}

/** "21 Nov" of a day that begins at midnight UTC. */
export function formatDay(when: When): string {
  const date = toDate(when);
  return date?.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }) ?? NONE;
}

/** "07:26:41" in the reader's zone. */
export function formatClock(when: When): string {
  const date = toDate(when);
  return date ? date.toLocaleTimeString('en-GB') : NONE;
}

/** "just now", "5 min ago", "in 3 days"; put the absolute time in a title next to it. */
export function formatAgo(when: When, now: number = Date.now()): string {
  const date = toDate(when);
  if (!date) return NONE;
  const seconds = Math.round((date.getTime() - now) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 45) return 'just now';
  const steps: [number, number, string, string][] = [
    [3600, 60, 'min', 'min'],
    [86_400, 3600, 'h', 'h'],
    [86_400 * 30, 86_400, 'day', 'days'],
    [86_400 * 365, 86_400 * 30, 'month', 'months'],
    [Number.POSITIVE_INFINITY, 86_400 * 365, 'year', 'years'],
  ];
  for (const [below, size, one, many] of steps) {
    if (distance >= below) continue;
    const n = Math.max(1, Math.round(distance / size));
    const words = `${n} ${n === 1 ? one : many}`;
    return seconds < 0 ? `${words} ago` : `in ${words}`;
  }
  return NONE;
}
