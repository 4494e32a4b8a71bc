/** Which stream names a publish token allows, and whether one must still be asked for. */
import type { TokenStream } from '$api';

export const MAX_NAME = 128;

/** Patterns match the whole name. One that this browser cannot read is left to the server. */
export function allows(streams: TokenStream[], name: string): boolean {
  return streams.some(({ streamName, isRegex }) => {
    if (!isRegex) return streamName === name;
    try {
      return new RegExp(`^(?:${streamName})$`).test(name);
    } catch {
      return true;
    }
  });
}

/** The name to publish, or null when the person must choose. `asked` is the one in the address. */
export function streamNameFor(streams: TokenStream[], asked: string | null): string | null {
  if (asked && asked.length <= MAX_NAME && allows(streams, asked)) return asked;
  const [only, ...more] = streams;
  return !asked && only && more.length === 0 && !only.isRegex ? only.streamName : null;
}

export function plainNames(streams: TokenStream[]): string[] {
  return streams.filter(({ isRegex }) => !isRegex).map(({ streamName }) => streamName);
}

/** Whether any name at all is allowed, so that the pattern need not be shown. */
export function allowsAny(streams: TokenStream[]): boolean {
  return streams.some(({ streamName, isRegex }) => isRegex && /^\^?\.[*+]\$?$/.test(streamName));
}
