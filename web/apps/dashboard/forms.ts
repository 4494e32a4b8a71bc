/** What people type into forms, turned into what the API takes, with words for what is wrong. */
import { strings } from './strings';

export interface StreamRule {
  streamName: string;
  isRegex: boolean;
}

/** Any stream name of the account. */
export const ANY_STREAM: StreamRule = { streamName: '.*', isRegex: true };

export function isAny(rule: StreamRule): boolean {
  return rule.isRegex && rule.streamName === ANY_STREAM.streamName;
}

/** Words of a short random name that people can read out: no letters or digits that look alike. */
const SAFE = 'abcdefghjkmnpqrstuvwxyz23456789';

export function randomStreamName(
  random: (bytes: Uint8Array) => Uint8Array = (b) => crypto.getRandomValues(b),
): string {
  const bytes = random(new Uint8Array(10));
  return Array.from(bytes, (byte) => SAFE[byte % SAFE.length]).join('');
}

/** One entry a line (commas count as line ends), without blanks and doubles. */
export function parseLines(text: string): string[] {
  const lines = text.split(/[\n,]/).map((line) => line.trim());
  return [...new Set(lines.filter(Boolean))];
}

export function checkLabel(label: string): string | undefined {
  if (!label.trim()) return strings.forms.labelMissing;
  if (label.trim().length > 128) return strings.forms.labelLong;
  return undefined;
}

export function checkStreamName(name: string, isRegex: boolean): string | undefined {
  const trimmed = name.trim();
  if (!trimmed) return strings.forms.streamMissing;
  if (trimmed.length > 128) return strings.forms.streamLong;
  if (!isRegex) return undefined;
  try {
    new RegExp(trimmed);
    return undefined;
  } catch {
    return strings.forms.regexBad;
  }
}

/** An IPv4 or IPv6 address or a CIDR block; ranges and wildcards are refused. */
export function isIpRule(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  if (rest.length) return false;
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  if (v4) return v4.slice(1).every((part) => Number(part) <= 255) && isPrefix(prefix, 32);
  if (!address.includes(':') || !/^[0-9a-fA-F:.]+$/.test(address)) return false;
  try {
    return Boolean(new URL(`http://[${address}]/`)) && isPrefix(prefix, 128);
  } catch {
    return false;
  }
}

function isPrefix(prefix: string | undefined, max: number): boolean {
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= max);
}

/** "example.com", "*.example.com" or "*", with a port or a scheme if wanted. */
export function isOriginRule(text: string): boolean {
  return /^(https?:\/\/)?(\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:\d{1,5})?$/i.test(
    text,
  );
}

export function checkOrigins(text: string): string | undefined {
  const bad = parseLines(text).find((line) => !isOriginRule(line));
  return bad ? strings.forms.originBad(bad) : undefined;
}

export function checkIps(text: string): string | undefined {
  const bad = parseLines(text).find((line) => !isIpRule(line));
  return bad ? strings.forms.ipBad(bad) : undefined;
}

/** Seconds from now to a local date and time as <input type="datetime-local"> gives it. */
export function secondsUntil(local: string, now: number = Date.now()): number | undefined {
  const at = new Date(local).getTime();
  return Number.isNaN(at) ? undefined : Math.round((at - now) / 1000);
}

export function checkExpiry(local: string, now: number = Date.now()): string | undefined {
  const seconds = secondsUntil(local, now);
  if (seconds === undefined) return strings.forms.expiryMissing;
  if (seconds < 1) return strings.forms.expiryPast;
  return undefined;
}

/** A time as <input type="datetime-local"> wants it: local, to the minute. */
export function toLocalInput(date: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The least any server accepts; one with a stricter setting says so itself. */
const MIN_PASSWORD = 8;

export function checkPasswords(next: string, again: string, current: string): string | undefined {
  if (next.length < MIN_PASSWORD) return strings.forms.passwordShort(MIN_PASSWORD);
  if (next === current) return strings.forms.passwordSame;
  if (next !== again) return strings.forms.passwordDiffers;
  return undefined;
}
