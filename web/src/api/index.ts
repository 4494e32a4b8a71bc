/** The calls of the control plane that the apps make. Each answers its data or throws an ApiError. */
import { client, type Page, unwrap, unwrapPage, unwrapPaged } from './client';
import type { components } from './schema';
import type {
  ApiTokenScope,
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

/* API tokens */

export const listApiTokens = () => unwrap(client.GET('/api/api_token'));

export const createApiToken = (label: string, scopes: ApiTokenScope[]) =>
  unwrap(client.POST('/api/api_token', { body: { label, scopes } }));

export const deleteApiToken = (tokenId: number) =>
  unwrap(client.DELETE('/api/api_token/{tokenId}', { params: { path: { tokenId } } }));

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

/* Livestreams. `of` is the account and the app. */

export interface AppOf {
  account_id: string;
  app_id: string;
}

export interface LivestreamQuery {
  page_no: number;
  per_page: number;
  search?: string;
  status?: Schemas['Status'];
}

const LIVESTREAMS = '/client/v4/accounts/{account_id}/realtime/kit/{app_id}/livestreams';
const ANALYTICS = '/client/v4/accounts/{account_id}/realtime/kit/{app_id}/analytics/livestreams';

export const listLivestreams = (of: AppOf, query: LivestreamQuery) =>
  unwrapPaged(client.GET(LIVESTREAMS, { params: { path: of, query } }));

export const createLivestream = (of: AppOf, name: string | null) =>
  unwrap(client.POST(LIVESTREAMS, { params: { path: of }, body: { name } }));

export const getLivestream = (of: AppOf, id: string, page: number, perPage: number) =>
  unwrap(
    client.GET(`${LIVESTREAMS}/{livestream_id}`, {
      params: { path: { ...of, livestream_id: id }, query: { page_no: page, per_page: perPage } },
    }),
  );

export const setLivestreamEnabled = (of: AppOf, id: string, enabled: boolean) => {
  const params = { path: { ...of, livestream_id: id } };
  return unwrap(
    enabled
      ? client.PUT(`${LIVESTREAMS}/{livestream_id}/enable`, { params })
      : client.PUT(`${LIVESTREAMS}/{livestream_id}/disable`, { params }),
  );
};

export const setLivestreamLadder = (of: AppOf, id: string, ladder: boolean | null) =>
  unwrap(
    client.PUT(`${LIVESTREAMS}/{livestream_id}/ladder`, {
      params: { path: { ...of, livestream_id: id } },
      body: { ladder },
    }),
  );

export const resetLivestreamKey = (of: AppOf, id: string) =>
  unwrap(
    client.POST(`${LIVESTREAMS}/{livestream_id}/reset-stream-key`, {
      params: { path: { ...of, livestream_id: id } },
    }),
  );

export const deleteLivestream = (of: AppOf, id: string) =>
  unwrap(client.DELETE(`${LIVESTREAMS}/{livestream_id}`, { params: { path: { ...of, livestream_id: id } } }));

/** The last 30 days of a livestream; only days with something on them. */
export const livestreamDays = (of: AppOf, id: string) =>
  unwrap(client.GET(`${ANALYTICS}/daywise`, { params: { path: of, query: { livestream_id: id } } }));
