import { afterEach, describe, expect, it, vi } from 'vitest';
import { SignallingError, SignallingSession } from './signalling';

const ENDPOINT = 'https://live.example/api/whip/demo';

/** Answers requests in turn and remembers them. */
function serve(...answers: (() => Response)[]) {
  const requests: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    requests.push({ url, init });
    const response = answers.shift()?.() ?? new Response(null, { status: 500 });
    Object.defineProperty(response, 'url', { value: url });
    return response;
  });
  return requests;
}

const created = (headers: Record<string, string> = {}) =>
  new Response('v=0\r\n', {
    status: 201,
    headers: { Location: '/api/whip/session/1', ETag: '"a"', ...headers },
  });

afterEach(() => vi.unstubAllGlobals());

describe('SignallingSession', () => {
  it('posts the offer with the token and resolves the location', async () => {
    const requests = serve(() => created({ Link: '<stun:stun.example>; rel="ice-server"' }));
    const { session, answer } = await SignallingSession.create(ENDPOINT, 'offer', 'secret');
    expect(answer).toBe('v=0\r\n');
    expect(session.url).toBe('https://live.example/api/whip/session/1');
    expect(session.iceServers).toEqual([{ urls: 'stun:stun.example' }]);
    expect(session.eventsUrl).toBeNull();
    expect(requests[0]?.init.headers).toMatchObject({
      Authorization: 'Bearer secret',
      'Content-Type': 'application/sdp',
    });
  });

  it('tells a refusal in the words of the server', async () => {
    serve(() => new Response('Unauthorized: token expired', { status: 401 }));
    const refusal = await SignallingSession.create(ENDPOINT, 'offer', 'x').catch((error) => error);
    expect(refusal).toBeInstanceOf(SignallingError);
    expect(refusal).toMatchObject({ status: 401, detail: 'Unauthorized: token expired', transient: false });
  });

  it('honours Retry-After up to a minute', async () => {
    serve(() => new Response('busy', { status: 503, headers: { 'Retry-After': '3600' } }));
    const refusal = await SignallingSession.create(ENDPOINT, 'offer', 'x').catch((error) => error);
    expect(refusal).toMatchObject({ transient: true, retryAfter: 60_000 });
  });

  it('refuses an answer without a session', async () => {
    serve(() => new Response('v=0', { status: 201 }));
    await expect(SignallingSession.create(ENDPOINT, 'offer', 'x')).rejects.toThrow('Location');
  });

  it('refuses an answer that never ends', async () => {
    serve(
      () => new Response('x'.repeat(300_000), { status: 201, headers: { Location: '/api/whip/session/1' } }),
    );
    await expect(SignallingSession.create(ENDPOINT, 'offer', 'x')).rejects.toThrow('too long');
  });

  it('tells a dead network from a refusal', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
    const failure = await SignallingSession.create(ENDPOINT, 'offer', 'x').catch((error) => error);
    expect(failure).toMatchObject({ status: 0, transient: true });
  });

  it('trickles under its ETag and restarts under any', async () => {
    const requests = serve(
      () => created(),
      () => new Response(null, { status: 204 }),
      () => new Response('a=ice-ufrag:n\r\n', { status: 200, headers: { ETag: '"b"' } }),
      () => new Response(null, { status: 204 }),
    );
    const { session } = await SignallingSession.create(ENDPOINT, 'offer', 'x');
    const [trickled, restarted] = await Promise.all([session.trickle('1'), session.restart('2')]);
    await session.trickle('3');
    expect(trickled).toBe(true);
    expect(restarted).toBe('a=ice-ufrag:n\r\n');
    expect(requests.slice(1).map(({ init }) => (init.headers as Record<string, string>)['If-Match'])).toEqual(
      ['"a"', '*', '"b"'],
    );
  });

  it('takes a server that does not trickle', async () => {
    serve(
      () => created(),
      () => new Response(null, { status: 405 }),
    );
    const { session } = await SignallingSession.create(ENDPOINT, 'offer', 'x');
    await expect(session.trickle('1')).resolves.toBe(false);
  });

  it('deletes once, and outlives the page', async () => {
    const requests = serve(
      () => created(),
      () => new Response(null, { status: 200 }),
    );
    const { session } = await SignallingSession.create(ENDPOINT, 'offer', 'x');
    await session.end();
    await session.end();
    expect(requests).toHaveLength(2);
    expect(requests[1]?.init).toMatchObject({ method: 'DELETE', keepalive: true });
  });

  it('knows a session that the server ended', async () => {
    serve(
      () => created(),
      () => new Response('no body', { status: 400 }),
      () => new Response('gone', { status: 404 }),
    );
    const { session } = await SignallingSession.create(ENDPOINT, 'offer', 'x');
    await expect(session.exists()).resolves.toBe(true);
    await expect(session.exists()).resolves.toBe(false);
  });
});
