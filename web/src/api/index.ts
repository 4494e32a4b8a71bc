/** The calls of the control plane that the apps make. Each answers its data or throws an ApiError. */
import { client, type Page, unwrap, unwrapPage } from './client';
import type { components } from './schema';
import type {
  PublishToken,
  PublishTokenDraft,
  PublishTokenUpdate,
  SubscribeToken,
  SubscribeTokenDraft,
  SubscribeTokenUpdate,
} from './types';

export { type Page, setCsrfToken, whenLoggedOut } from './client';
export { ApiError, errorFrom, messageOf } from './errors';
export type * from './types';

type Schemas = components['schemas'];

/* Session */

export const getSession = () => unwrap(client.GET('/api/session'), { expect401: true });

export const login = (email: string, password: string) =>
  unwrap(client.POST('/api/session', { body: { email, password } }), { expect401: true });

export const logout = () => unwrap(client.DELETE('/api/session'));

export const changePassword = (currentPassword: string, newPassword: string) =>
  unwrap(client.PUT('/api/session/password', { body: { currentPassword, newPassword } }), {
    expect401: true,
  });

export const getServer = () => unwrap(client.GET('/api/server'));

/* API secrets */

export const listSecrets = () => unwrap(client.GET('/api/secret'));

export const createSecret = (label: string) => unwrap(client.POST('/api/secret', { body: { label } }));

export const deleteSecret = (secretId: number) =>
  unwrap(client.DELETE('/api/secret/{secretId}', { params: { path: { secretId } } }));

/* Tokens */

export interface ListQuery {
  /** Text that label or stream name must contain; empty: all. */
  name: string;
  page: number;
  itemsOnPage: number;
  sortBy: Schemas['SortBy'];
  isDescending: boolean;
}

const byName = (query: ListQuery) => ({ ...query, filterBy: 'TokenOrStreamName' as const });

export function listPublishTokens({ name, ...query }: ListQuery): Promise<Page<PublishToken>> {
  return name
    ? unwrapPage(
        client.GET('/api/publish_token/list_by_name', { params: { query: byName({ name, ...query }) } }),
      )
    : unwrapPage(client.GET('/api/publish_token/list', { params: { query } }));
}

export const getPublishToken = (tokenId: number) =>
  unwrap(client.GET('/api/publish_token/{tokenId}', { params: { path: { tokenId } } }));

export const createPublishToken = (draft: PublishTokenDraft) =>
  unwrap(client.POST('/api/publish_token', { body: draft as Schemas['PublishTokenCreate'] }));

export const updatePublishToken = (tokenId: number, body: PublishTokenUpdate) =>
  unwrap(client.PUT('/api/v2/publish_token/{tokenId}', { params: { path: { tokenId } }, body }));

export const deletePublishToken = (tokenId: number) =>
  unwrap(client.DELETE('/api/publish_token/{tokenId}', { params: { path: { tokenId } } }));

export const disablePublishTokens = (tokenIds: number[]) =>
  unwrap(client.PATCH('/api/publish_token/disable', { body: { tokenIds } }));

export function listSubscribeTokens({ name, ...query }: ListQuery): Promise<Page<SubscribeToken>> {
  return name
    ? unwrapPage(
        client.GET('/api/subscribe_token/list_by_name', { params: { query: byName({ name, ...query }) } }),
      )
    : unwrapPage(client.GET('/api/subscribe_token/list', { params: { query } }));
}

export const getSubscribeToken = (tokenId: number) =>
  unwrap(client.GET('/api/subscribe_token/{tokenId}', { params: { path: { tokenId } } }));

export const createSubscribeToken = (draft: SubscribeTokenDraft) =>
  unwrap(client.POST('/api/subscribe_token', { body: draft as Schemas['SubscribeTokenCreate'] }));

export const updateSubscribeToken = (tokenId: number, body: SubscribeTokenUpdate) =>
  unwrap(client.PUT('/api/v2/subscribe_token/{tokenId}', { params: { path: { tokenId } }, body }));

export const deleteSubscribeToken = (tokenId: number) =>
  unwrap(client.DELETE('/api/subscribe_token/{tokenId}', { params: { path: { tokenId } } }));

/* Streams */

export interface StreamQuery {
  page: number;
  itemsOnPage: number;
  sortBy?: Schemas['StreamSortBy'];
  isDescending?: boolean;
  isActive?: boolean;
  searchSubstring?: string;
}

export const listStreams = (query: StreamQuery) =>
  unwrap(client.GET('/api/monitoring/streams', { params: { query } }));

export const getStream = (streamName: string) =>
  unwrap(client.GET('/api/monitoring/streams/{streamName}', { params: { path: { streamName } } }));

export const stopStream = (streamId: string) =>
  unwrap(client.POST('/api/stream/stop', { body: { streamId } }));
