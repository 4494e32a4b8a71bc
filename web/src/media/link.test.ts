import { describe, expect, it } from 'vitest';
import { EVENTS_EXTENSION, iceServersFrom, parseLinks } from './link';

const BASE = 'https://live.example/api/whep/acc/demo';

describe('parseLinks', () => {
  it('gives nothing for a missing or broken header', () => {
    expect(parseLinks(null, BASE)).toEqual([]);
    expect(parseLinks('', BASE)).toEqual([]);
    expect(parseLinks('no brackets; rel=x, <unclosed; rel="y"', BASE)).toEqual([]);
    expect(parseLinks('<http://[>; rel=x', BASE)).toEqual([]);
  });

  it('reads several links, quoted commas and semicolons included', () => {
    const links = parseLinks(
      `</api/whep/session/1/sse>; rel="${EVENTS_EXTENSION}"; events="active,inactive,viewercount", ` +
        '<stun:stun.example:3478>; rel=ice-server',
      BASE,
    );
    expect(links).toEqual([
      {
        target: 'https://live.example/api/whep/session/1/sse',
        rel: [EVENTS_EXTENSION],
        params: { events: 'active,inactive,viewercount' },
      },
      { target: 'stun:stun.example:3478', rel: ['ice-server'], params: {} },
    ]);
  });

  it('keeps commas inside targets and escaped quotes inside values', () => {
    const [link] = parseLinks('<https://a.example/x,y>; rel="next"; title="a \\"b\\", c"', BASE);
    expect(link?.target).toBe('https://a.example/x,y');
    expect(link?.params.title).toBe('a "b", c');
  });

  it('stops at a sane number of links', () => {
    expect(parseLinks(Array(500).fill('</x>; rel=y').join(','), BASE)).toHaveLength(64);
  });
});

describe('iceServersFrom', () => {
  it('takes STUN, and TURN with its credentials', () => {
    const header =
      '<stun:stun.example>; rel="ice-server", ' +
      '<turn:turn.example?transport=udp>; rel="ice-server"; username="u"; credential="p"; credential-type="password"';
    expect(iceServersFrom(parseLinks(header, BASE))).toEqual([
      { urls: 'stun:stun.example' },
      { urls: 'turn:turn.example?transport=udp', username: 'u', credential: 'p' },
    ]);
  });

  it('leaves out TURN without credentials, which the browser would refuse', () => {
    expect(iceServersFrom(parseLinks('<turn:turn.example>; rel="ice-server"', BASE))).toEqual([]);
  });

  it('leaves out other relations and other schemes', () => {
    const header = '<stun:a>; rel=other, <https://b>; rel=ice-server';
    expect(iceServersFrom(parseLinks(header, BASE))).toEqual([]);
  });
});
