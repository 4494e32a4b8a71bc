/**
 * `Link` header fields (RFC 8288 §3) as WHIP and WHEP use them: ICE servers (RFC 9725 §4.6) and
 * protocol extensions. Malformed parts are skipped, never thrown.
 */
export interface Link {
  /** Absolute; relative targets are resolved against the response's URL. */
  target: string;
  /** Relation types, lower case. */
  rel: string[];
  /** Other parameters by lower-case name. */
  params: Record<string, string>;
}

/** The events extension of WHIP and WHEP answers. */
export const LAYER_EXTENSION = 'urn:ietf:params:whep:ext:core:layer';
export const EVENTS_EXTENSION = 'urn:ietf:params:whep:ext:core:server-sent-events';

const MAX_LINKS = 64;

/** Reads all links of a header; `base` is the URL of the response. */
export function parseLinks(header: string | null, base: string): Link[] {
  const links: Link[] = [];
  for (const value of splitOutsideQuotes(header ?? '', ',')) {
    if (links.length === MAX_LINKS) break;
    const match = /^\s*<([^>]*)>(.*)$/s.exec(value);
    if (!match) continue;
    const params: Record<string, string> = {};
    for (const part of splitOutsideQuotes(match[2] ?? '', ';')) {
      const equals = part.indexOf('=');
      const name = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
      if (name === '' || name in params) continue;
      params[name] = equals < 0 ? '' : unquote(part.slice(equals + 1).trim());
    }
    const { rel = '', ...rest } = params;
    const target = resolve((match[1] ?? '').trim(), base);
    if (target === null) continue;
    links.push({ target, rel: rel.toLowerCase().split(/\s+/).filter(Boolean), params: rest });
  }
  return links;
}

/** ICE servers in the form `RTCPeerConnection` takes; TURN without credentials is left out. */
export function iceServersFrom(links: Link[]): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const { target, rel, params } of links) {
    if (!rel.includes('ice-server') || !/^(stun|turn)s?:/i.test(target)) continue;
    if (/^stuns?:/i.test(target)) servers.push({ urls: target });
    else if (params.username !== undefined && params.credential !== undefined)
      servers.push({ urls: target, username: params.username, credential: params.credential });
  }
  return servers;
}

function resolve(target: string, base: string): string | null {
  // `stun:` and `turn:` URIs are opaque: the URL parser would keep them, but only by accident.
  if (/^(stun|turn)s?:/i.test(target)) return target;
  try {
    return new URL(target, base).href;
  } catch {
    return null;
  }
}

function unquote(value: string): string {
  if (!value.startsWith('"')) return value;
  return value.replace(/^"/, '').replace(/"$/, '').replace(/\\(.)/g, '$1');
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  let bracketed = false;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (quoted) {
      if (char === '\\') i += 1;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === '<') bracketed = true;
    else if (char === '>') bracketed = false;
    else if (char === separator && !bracketed) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.filter((part) => part.trim() !== '');
}
