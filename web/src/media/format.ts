/** Numbers as people read them: units always, decimals only where they tell something. */

/** `2.4 Mbit/s`, `640 kbit/s`. */
export function formatBitrate(bitsPerSecond: number): string {
  if (bitsPerSecond >= 999_500) return `${trim(bitsPerSecond / 1e6)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/** `1.2 GB`, decimal units. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = Math.max(0, bytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : trim(value)} ${units[unit]}`;
}

/** `00:04:09`; hours grow without limit. */
export function formatTimecode(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

/** `0.4 %`. */
export function formatShare(share: number): string {
  return `${trim(share * 100)} %`;
}

export function formatMilliseconds(ms: number): string {
  return ms >= 10_000 ? `${trim(ms / 1000)} s` : `${Math.round(ms)} ms`;
}

/** `1,204`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en');
}

function trim(value: number): string {
  return value >= 99.95 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, '');
}
