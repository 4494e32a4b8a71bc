/** Whose livestreams are shown, and what they are called here and in the live events. */
import type { AppOf, Livestream } from '$api';
import { live } from '../live.svelte';
import { session } from '../session.svelte';
import { strings } from '../strings';

/** The account and the app that calls name. */
export function app(): AppOf {
  return { account_id: session.server?.accountId ?? '', app_id: session.server?.appId ?? '' };
}

export function titleOf(livestream: Pick<Livestream, 'id' | 'name'>): string {
  return livestream.name || strings.livestreams.unnamed(livestream.id);
}

/** The livestream's stream, while it is live or shortly after. */
export function streamOf(livestream: Pick<Livestream, 'stream_name'>) {
  return live.streams.get(`${session.server?.accountId}/${livestream.stream_name}`);
}
