import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { client, setCsrfToken, unwrap, unwrapPage, whenLoggedOut } from './client';
import { ApiError } from './errors';

const requests: Request[] = [];
let answer: () => Response | Promise<Response>;

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
  });
}

beforeEach(() => {
  requests.length = 0;
  setCsrfToken('');
  whenLoggedOut(() => undefined);
});

afterEach(() => vi.restoreAllMocks());

/** The client with a network of our own. */
const fetch = async (request: Request): Promise<Response> => {
  requests.push(request);
  return answer();
};

const getSecrets = () => unwrap(client.GET('/api/secret', { fetch }));
const addSecret = () => unwrap(client.POST('/api/secret', { fetch, body: { label: 'x' } }));

describe('unwrap', () => {
  test('gives the data inside the envelope', async () => {
    answer = () => json(200, { status: 'success', data: [{ id: 1 }] });
    expect(await getSecrets()).toEqual([{ id: 1 }]);
  });

  test('a refusal becomes an ApiError with its fields', async () => {
    answer = () =>
      json(400, { status: 'fail', data: { message: 'Validation errors', errors: { label: ['Too long.'] } } });
    const error = await addSecret().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).fields).toEqual({ label: 'Too long.' });
  });

  test('an ended session is told once, and still thrown', async () => {
    const ended = vi.fn();
    whenLoggedOut(ended);
    answer = () => json(401, { status: 'fail', data: { message: 'Unauthorized' } });
    await expect(getSecrets()).rejects.toMatchObject({ status: 401 });
    expect(ended).toHaveBeenCalledOnce();
  });

  test('a server that cannot be reached is transient', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    answer = () => Promise.reject(new TypeError('Failed to fetch'));
    await expect(getSecrets()).rejects.toMatchObject({ status: 0, transient: true });
  });

  test('a proxy that answers HTML does not leak its page', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    answer = () => new Response('<html>Bad gateway</html>', { status: 502 });
    const error = (await getSecrets().catch((caught: unknown) => caught)) as ApiError;
    expect(error.message).not.toContain('<html>');
    expect(error.transient).toBe(true);
  });
});

describe('CSRF', () => {
  test('calls that change something carry the token, reads do not', async () => {
    setCsrfToken('token-1');
    answer = () => json(200, { status: 'success', data: [] });
    await getSecrets();
    await addSecret();
    expect(requests.map((request) => request.headers.get('X-CSRF-Token'))).toEqual([null, 'token-1']);
  });
});

describe('unwrapPage', () => {
  const list = () =>
    unwrapPage(
      client.GET('/api/publish_token/list', { fetch, params: { query: { page: 1, itemsOnPage: 2 } } }),
    );

  test('the whole length comes from the header', async () => {
    answer = () => json(200, { status: 'success', data: [{ id: 1 }] }, { 'X-Total-Count': '30' });
    expect(await list()).toMatchObject({ total: 30 });
  });

  test('without the header it is what there is', async () => {
    answer = () => json(200, { status: 'success', data: [{ id: 1 }] });
    expect(await list()).toMatchObject({ total: 1 });
  });
});
