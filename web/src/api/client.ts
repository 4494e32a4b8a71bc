/**
 * Calls to the control plane with the dashboard's cookie. Every call answers its data or throws an
 * ApiError; nothing else leaves this file. Calls that change something carry the CSRF token.
 */
import createClient, { type Middleware } from 'openapi-fetch';
import { errorFrom } from './errors';
import type { paths } from './schema';

let csrfToken = '';
let onLoggedOut: (() => void) | undefined;

/** Sets the token that came with the session; empty after logging out. */
export function setCsrfToken(token: string): void {
  csrfToken = token;
}

/** Called when a call finds that the session has ended. */
export function whenLoggedOut(run: () => void): void {
  onLoggedOut = run;
}

const csrf: Middleware = {
  onRequest({ request }) {
    if (request.method !== 'GET' && csrfToken) request.headers.set('X-CSRF-Token', csrfToken);
    return request;
  },
};

/** The typed client. Wrap each call in `unwrap`. */
export const client = createClient<paths>({ baseUrl: location.origin, credentials: 'same-origin' });
client.use(csrf);

/** Inside the envelope of /api, or of /client/v4. */
type Envelope<T> = { status: 'success'; data: T } | { success: true; data: T };

interface Reply<T> {
  data?: Envelope<T>;
  error?: unknown;
  response: Response;
}

async function answered<T>(
  call: Promise<Reply<T>>,
  expect401: boolean,
): Promise<Reply<T> & { data: { data: T } }> {
  let reply: Reply<T>;
  try {
    reply = await call;
  } catch (error) {
    // Not reached, or reached something that does not speak JSON: trying again may work.
    console.warn('A call to the server failed', error);
    throw errorFrom(0, null);
  }
  const { data } = reply;
  if (data && reply.response.ok) return { ...reply, data };
  if (reply.response.status === 401 && !expect401) onLoggedOut?.();
  throw errorFrom(reply.response.status, reply.error);
}

/** The data inside the envelope of a successful call. */
export async function unwrap<T>(call: Promise<Reply<T>>, { expect401 = false } = {}): Promise<T> {
  return (await answered(call, expect401)).data.data;
}

/** One page of a longer list. */
export interface Page<T> {
  items: T[];
  /** How many there are on all pages. */
  total: number;
}

/** As `unwrap`, for lists whose whole length is in the X-Total-Count header. */
export async function unwrapPage<T>(call: Promise<Reply<T[]>>): Promise<Page<T>> {
  const { data, response } = await answered(call, false);
  const total = Number(response.headers.get('X-Total-Count') ?? Number.NaN);
  return { items: data.data, total: Number.isInteger(total) ? total : data.data.length };
}

interface PagedReply<T> {
  data?: { success: true; data: T[]; paging: { total_count: number } };
  error?: unknown;
  response: Response;
}

/** As `unwrapPage`, for lists of /client/v4, which have their length beside them. */
export async function unwrapPaged<T>(call: Promise<PagedReply<T>>): Promise<Page<T>> {
  let total = 0;
  const items = await unwrap(
    call.then((reply) => {
      total = reply.data?.paging.total_count ?? 0;
      return reply;
    }),
  );
  return { items, total };
}
