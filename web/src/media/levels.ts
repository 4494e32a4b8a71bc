/**
 * The variants of a multivariant playlist as qualities. A picture is listed with every kind of sound
 * and is one quality: what tells it is the address of its playlist.
 */
import { named, type Quality } from './layers';

/** What hls.js tells of a variant. */
export interface Level {
  uri: string;
  height: number;
  averageBitrate: number;
  audioCodec: string | undefined;
}

/** What may be chosen, best first. Empty when there is nothing to choose. */
export function levelQualities(levels: readonly Level[]): Quality[] {
  const best = new Map<string, Level>();
  for (const level of levels) {
    const id = pathOf(level);
    if (!best.has(id)) best.set(id, level);
  }
  const entries = [...best].map(([id, { height, averageBitrate }]) => ({
    selection: { encodingId: id },
    height: height || null,
    bitrate: averageBitrate,
  }));
  return named(entries).map((quality, index, all) => {
    const same = all.slice(0, index).filter(({ label }) => label === quality.label).length;
    return same === 0 ? quality : { ...quality, label: `${quality.label} (${same + 1})` };
  });
}

/** Where a quality is among the levels, with the sound that plays if it is there; -1 when it is gone. */
export function levelOf(levels: readonly Level[], id: string, audioCodec: string | undefined): number {
  const there = (level: Level) => pathOf(level) === id;
  const alike = levels.findIndex((level) => there(level) && level.audioCodec === audioCodec);
  return alike >= 0 ? alike : levels.findIndex(there);
}

/** Without the query, which is another one with every connection. */
function pathOf({ uri }: Level): string {
  return new URL(uri, 'http://x').pathname;
}
