/** What a token's dates, switches and live feeds mean together. */
import type { TokenStream } from '$api';
import { toDate } from '$ui/format';
import { isAny } from '../forms';
import { strings } from '../strings';

export type TokenState = 'active' | 'disabled' | 'expired';

export function tokenState(
  token: { isActive: boolean; expiresOn: string | null },
  now: number = Date.now(),
): TokenState {
  if (!token.isActive) return 'disabled';
  const expires = toDate(token.expiresOn);
  return expires && expires.getTime() <= now ? 'expired' : 'active';
}

/** The name to show for a rule of stream names. */
export function streamLabel(rule: TokenStream): string {
  return isAny(rule) ? strings.common.anyName : rule.streamName;
}

/** The only stream this token can publish, or null when the publisher has to choose. */
export function soleStream(streams: TokenStream[]): string | null {
  const [first] = streams;
  return first && streams.length === 1 && !first.isRegex ? first.streamName : null;
}

/**
 * Whether a rule lets this name through. Patterns are RE2 on the server; one that this browser cannot read
 * is let through here and judged there.
 */
export function allows(rule: TokenStream, name: string): boolean {
  if (!rule.isRegex) return rule.streamName === name;
  try {
    return new RegExp(`^(?:${rule.streamName})$`, 'u').test(name);
  } catch {
    return true;
  }
}
