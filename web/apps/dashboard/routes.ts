/** Which page an address shows. A new page is one line here and, if it is a main one, one in shell/nav.ts. */
import type { Component } from 'svelte';
import Account from './pages/Account.svelte';
import ApiTokens from './pages/ApiTokens.svelte';
import LiveBroadcast from './pages/LiveBroadcast.svelte';
import LivestreamPage from './pages/LivestreamPage.svelte';
import Livestreams from './pages/Livestreams.svelte';
import Monitoring from './pages/Monitoring.svelte';
import MonitoringStream from './pages/MonitoringStream.svelte';
import NotFound from './pages/NotFound.svelte';
import Secrets from './pages/Secrets.svelte';
import SubscribeTokenSettings from './pages/SubscribeTokenSettings.svelte';
import SubscribeTokens from './pages/SubscribeTokens.svelte';
import TokenSettings from './pages/TokenSettings.svelte';
import { matchPath } from './router.svelte';

type Page = Component<Record<string, string>>;

interface Route {
  pattern: string;
  component?: Component<never>;
  redirect?: (params: Record<string, string>) => string;
}

export const paths = {
  tokens: '/live-broadcast',
  token: (id: number, tab = 'details') => `/live-broadcast/${id}/${tab}`,
  livestreams: '/livestreams',
  livestream: (id: string, tab = 'overview') => `/livestreams/${id}/${tab}`,
  subscribeTokens: '/subscribe-tokens',
  subscribeToken: (id: number, tab = 'details') => `/subscribe-tokens/${id}/${tab}`,
  monitoring: '/monitoring',
  // A stream name may hold dots and slashes, which a path would not survive.
  stream: (name: string) => `/monitoring/stream?name=${encodeURIComponent(name)}`,
  secrets: '/settings/secrets',
  apiTokens: '/settings/api-tokens',
  account: '/settings/account',
};

const routes: Route[] = [
  { pattern: '/', redirect: () => paths.tokens },
  { pattern: '/login', redirect: () => paths.tokens },
  { pattern: '/live-broadcast', component: LiveBroadcast },
  { pattern: '/live-broadcast/:id', redirect: ({ id = '' }) => `/live-broadcast/${id}/details` },
  { pattern: '/live-broadcast/:id/:tab', component: TokenSettings },
  { pattern: '/livestreams', component: Livestreams },
  { pattern: '/livestreams/:id', redirect: ({ id = '' }) => `/livestreams/${id}/overview` },
  { pattern: '/livestreams/:id/:tab', component: LivestreamPage },
  { pattern: '/subscribe-tokens', component: SubscribeTokens },
  { pattern: '/subscribe-tokens/:id', redirect: ({ id = '' }) => `/subscribe-tokens/${id}/details` },
  { pattern: '/subscribe-tokens/:id/:tab', component: SubscribeTokenSettings },
  { pattern: '/monitoring', component: Monitoring },
  { pattern: '/monitoring/stream', component: MonitoringStream },
  { pattern: '/settings', redirect: () => paths.secrets },
  { pattern: '/settings/secrets', component: Secrets },
  { pattern: '/settings/api-tokens', component: ApiTokens },
  { pattern: '/settings/account', component: Account },
];

export interface Found {
  component?: Page;
  params: Record<string, string>;
  redirect?: string;
  /** Changes when the page must be built anew; tabs of one subject share it. */
  key: string;
}

export function findPage(path: string): Found {
  for (const route of routes) {
    const params = matchPath(route.pattern, path);
    if (!params) continue;
    if (route.redirect) return { params, redirect: route.redirect(params), key: '' };
    return { component: route.component as Page, params, key: `${route.pattern}#${params.id ?? ''}` };
  }
  return { component: NotFound as Page, params: {}, key: 'not-found' };
}
