/** Days of a livestream as points of a graph: every day of the span, also those on which nothing was. */
import type { LivestreamDay } from '$api';

const DAY = 86_400;

export interface DayPoints {
  /** Unix seconds of midnight UTC. */
  times: number[];
  sent: number[];
  watched: number[];
}

/** The last `count` days up to now; empty when nothing ever was, so that the graph can say so. */
export function dayPoints(days: LivestreamDay[], count = 30, now = Date.now()): DayPoints {
  if (!days.length) return { times: [], sent: [], watched: [] };
  const byDay = new Map(days.map((day) => [Math.floor(Date.parse(day.date) / 1000), day]));
  const today = Math.floor(now / 1000 / DAY) * DAY;
  const times = Array.from({ length: count }, (_, index) => today - (count - 1 - index) * DAY);
  return {
    times,
    sent: times.map((time) => byDay.get(time)?.total_ingest_seconds ?? 0),
    watched: times.map((time) => byDay.get(time)?.total_viewer_seconds ?? 0),
  };
}
