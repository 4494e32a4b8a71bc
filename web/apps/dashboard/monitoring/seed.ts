/** Turns what the server remembers of a feed into points for the charts. */
import type { FeedDetails } from '$api';
import { toDate } from '$ui/format';
import type { Point } from '../history';

function seconds(timestamp: string): number | null {
  const date = toDate(timestamp);
  return date ? Math.round(date.getTime() / 1000) : null;
}

/** The points of the feeds, added up where several sources run in the same second. */
export function pointsOf(feeds: FeedDetails[]): Point[] {
  const points = new Map<number, Point>();
  for (const feed of feeds) {
    const losses = new Map(feed.feedStats.map((stat) => [seconds(stat.timestamp), stat.packetLoss]));
    const stats = feed.trackDetails.flatMap((track) =>
      track.encodingDetails.flatMap((encoding) => encoding.encodingStats),
    );
    for (const stat of stats) {
      const at = seconds(stat.timestamp);
      if (at === null) continue;
      const bitrate = (stat.bitRate.audioBitrate ?? 0) + (stat.bitRate.videoBitrate ?? 0);
      const before = points.get(at);
      points.set(at, {
        at,
        bitrateBps: (before?.bitrateBps ?? 0) + bitrate,
        // How many watched back then is not remembered.
        viewerCount: null,
        fps: Math.max(before?.fps ?? 0, stat.frames),
        packetLoss: Math.max(before?.packetLoss ?? 0, losses.get(at) ?? 0),
        rttMs: stat.rtt ?? before?.rttMs ?? null,
      });
    }
  }
  return [...points.values()].sort((a, b) => a.at - b.at);
}
