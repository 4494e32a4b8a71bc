/** The main menu: on the left, and at the bottom on phones. */
import Activity from '@lucide/svelte/icons/activity';
import MonitorPlay from '@lucide/svelte/icons/monitor-play';
import Radio from '@lucide/svelte/icons/radio';
import Settings from '@lucide/svelte/icons/settings';
import Ticket from '@lucide/svelte/icons/ticket';
import { paths } from '../routes';
import { strings } from '../strings';

export const nav = [
  {
    href: paths.tokens,
    label: strings.nav.liveBroadcast,
    short: strings.nav.liveBroadcastShort,
    icon: Radio,
    testid: 'nav-live-broadcast',
  },
  {
    href: paths.livestreams,
    label: strings.nav.livestreams,
    short: strings.nav.livestreams,
    icon: MonitorPlay,
    testid: 'nav-livestreams',
  },
  {
    href: paths.subscribeTokens,
    label: strings.nav.subscribeTokens,
    short: strings.nav.subscribeTokensShort,
    icon: Ticket,
    testid: 'nav-subscribe-tokens',
  },
  {
    href: paths.monitoring,
    label: strings.nav.monitoring,
    short: strings.nav.monitoring,
    icon: Activity,
    testid: 'nav-monitoring',
  },
  {
    href: '/settings',
    label: strings.nav.settings,
    short: strings.nav.settings,
    icon: Settings,
    testid: 'nav-settings',
  },
];

export function isCurrent(href: string, path: string): boolean {
  return path === href || path.startsWith(`${href}/`);
}
