import type { LiveStream } from '$api';
import { toDate } from '$ui/format';

const time = (when: string | null) => toDate(when)?.getTime() ?? 0;

/** Streams known by events win over what was asked for earlier. Live ones first, then the latest ended. */
export function mergeStreams(known: Iterable<LiveStream>, asked: Iterable<LiveStream>): LiveStream[] {
  const streams = new Map<string, LiveStream>();
  for (const stream of asked) if (!stream.live) streams.set(stream.streamId, stream);
  for (const stream of known) streams.set(stream.streamId, stream);
  return [...streams.values()].sort((a, b) => {
    if (a.live !== b.live) return a.live ? -1 : 1;
    if (a.live) return time(b.startTime) - time(a.startTime) || a.streamName.localeCompare(b.streamName);
    return time(b.endTime) - time(a.endTime);
  });
}
