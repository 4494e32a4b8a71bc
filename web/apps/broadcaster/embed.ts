/** Links and embed code of the share panel. Everything from outside is escaped. */
export interface Place {
  viewerUrl: string;
  /** Ends with the account. */
  whepUrl: string;
  accountId: string;
}

export interface EmbedOptions {
  width: number;
  height: number;
  /** Fills the page's width at the picture's shape instead of a fixed size. */
  fluid: boolean;
  autoplay: boolean;
  muted: boolean;
  controls: boolean;
}

export const EMBED_DEFAULTS: EmbedOptions = {
  width: 640,
  height: 360,
  fluid: false,
  autoplay: true,
  muted: false,
  controls: true,
};

/** Link of the hosted viewer; the slash inside `streamId` stays readable. */
export function viewerLink(place: Place, streamName: string, sourceId: string | null): string {
  const id = [place.accountId, streamName].map(encodeURIComponent).join('/');
  const source = sourceId ? `&sourceId=${encodeURIComponent(sourceId)}` : '';
  return `${place.viewerUrl}?streamId=${id}${source}`;
}

export function whepLink(place: Place, streamName: string, sourceId: string | null): string {
  const path = `${place.whepUrl}/${encodeURIComponent(streamName)}`;
  return sourceId ? `${path}?sourceId=${encodeURIComponent(sourceId)}` : path;
}

export function embedCode(link: string, options: EmbedOptions): string {
  const { autoplay, muted, controls, fluid, width, height } = options;
  const query = [
    autoplay ? '' : '&autoplay=false',
    muted ? '&muted=true' : '',
    controls ? '' : '&controls=false',
  ];
  const source = escapeHtml(link + query.join(''));
  const size = fluid
    ? `style="width: 100%; aspect-ratio: ${width} / ${height}; border: 0"`
    : `width="${width}" height="${height}" style="border: 0"`;
  return `<iframe src="${source}" ${size} allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('"', '&quot;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
