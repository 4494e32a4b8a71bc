/** The shapes of the API under short names, all from the generated schema. */
import type { components } from './schema';

type Schemas = components['schemas'];

export type Session = Schemas['Session'];
export type ServerInfo = Schemas['ServerInfo'];
export type Secret = Schemas['Secret'];
export type SecretCreated = Schemas['SecretCreated'];
export type ApiToken = Schemas['ApiToken'];
export type ApiTokenScope = ApiToken['scopes'][number];
export type Livestream = Schemas['Livestream'];
export type LivestreamDetails = Schemas['LivestreamDetails'];
export type LivestreamSession = Schemas['LivestreamSession'];
export type LivestreamDay = Schemas['Day'];
export type LivestreamStatus = Schemas['Status'];
export type TokenStream = Schemas['TokenStream'];
export type PublishToken = Schemas['PublishToken'];
export type SubscribeToken = Schemas['SubscribeToken'];
export type PublishTokenUpdate = Schemas['PublishTokenUpdate'];
export type SubscribeTokenUpdate = Schemas['SubscribeTokenUpdate'];
export type LiveStream = Schemas['MonitoredStream'];
export type StreamDetails = Schemas['MonitoredStreamDetails'];
export type Feed = Schemas['MonitoredFeed'];
export type FeedDetails = Schemas['MonitoredFeedDetails'];
export type LiveFigures = Schemas['StreamFigures'];
export type HelloEvent = Schemas['HelloEvent'];
export type FiguresEvent = Schemas['FiguresEvent'];
export type TokenEvent = Schemas['TokenEvent'];

/**
 * A body of which the named fields must be given. (The generated types also ask for every field that has a
 * default, because the same field is always there in replies.)
 */
type Draft<T, Required extends keyof T> = Partial<T> & Pick<T, Required>;

export type PublishTokenDraft = Draft<Schemas['PublishTokenCreate'], 'label' | 'streams'>;
export type SubscribeTokenDraft = Draft<Schemas['SubscribeTokenCreate'], 'label' | 'streams'>;
