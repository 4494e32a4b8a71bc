/**
 * The layers of a stream as the WHEP layer extension tells them, and the qualities a person chooses
 * from: one for each picture size, best first.
 */

/** What the extension's POST takes; an empty one is automatic. */
export interface LayerSelection {
  encodingId?: string;
  spatialLayerId?: number;
}

export interface Quality {
  /** `720p`, or `High` where sizes are not known. */
  label: string;
  selection: LayerSelection;
  /** Bits a second, where it is known and stays. */
  bitrate?: number;
}

interface Entry {
  selection: LayerSelection;
  height: number | null;
  bitrate: number;
}

/** "None", in an id. */
const NONE = 255;
const NAMES: Record<number, readonly string[]> = { 2: ['High', 'Low'], 3: ['High', 'Medium', 'Low'] };

/** Reads the data of a `layers` event. Empty when there is nothing to choose. */
export function qualities(data: unknown): Quality[] {
  const media = Object.values((data as { medias?: object } | null)?.medias ?? {})[0] as unknown;
  const listed = (media as { layers?: unknown } | undefined)?.layers;
  const best = new Map<string, Entry>();
  for (const entry of Array.isArray(listed) ? listed.flatMap(entryOf) : []) {
    const id = JSON.stringify(entry.selection);
    // Temporal layers of one picture are one quality.
    if (!best.has(id)) best.set(id, entry);
  }
  // A layer's bitrate is another one every second.
  return named([...best.values()]).map(({ label, selection }) => ({ label, selection }));
}

/** Gives names, best first: by height, or by place where heights are not known. */
export function named(found: readonly Entry[]): Quality[] {
  const entries = [...found].sort((a, b) => (b.height ?? 0) - (a.height ?? 0) || b.bitrate - a.bitrate);
  if (entries.length < 2) return [];
  const known = entries.every(({ height }) => height);
  return entries.map(({ selection, height, bitrate }, index) => ({
    label: known ? `${height}p` : (NAMES[entries.length]?.[index] ?? `${Math.round(bitrate / 1000)} kbit/s`),
    selection,
    bitrate,
  }));
}

/** The quality that `wanted` names: `High`, `Medium`, `Low`, or a height, which none may exceed. */
export function qualityNamed(list: readonly Quality[], wanted: string): Quality | undefined {
  const places: Record<string, number> = { high: 0, medium: Math.floor((list.length - 1) / 2), low: -1 };
  const place = places[wanted.toLowerCase()];
  if (place !== undefined) return list.at(place);
  const height = Number.parseInt(wanted, 10);
  if (!(height > 0)) return undefined;
  return list.find(({ label }) => Number.parseInt(label, 10) <= height) ?? list.at(-1);
}

function entryOf(entry: unknown): Entry[] {
  if (typeof entry !== 'object' || entry === null) return [];
  const { encodingId, spatialLayerId, height, bitrate } = entry as Partial<Entry & LayerSelection>;
  if (typeof encodingId !== 'string') return [];
  const has = typeof spatialLayerId === 'number' && spatialLayerId !== NONE;
  return [
    {
      selection: { encodingId, ...(has ? { spatialLayerId } : {}) },
      height: typeof height === 'number' ? height : null,
      bitrate: typeof bitrate === 'number' ? bitrate : 0,
    },
  ];
}
