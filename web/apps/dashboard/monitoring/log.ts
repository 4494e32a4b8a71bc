/** What happened to a stream, in words and with the server's times. */
import type { LiveStream } from '$api';
import { toDate } from '$ui/format';
import { strings } from '../strings';

export interface LogEntry {
  /** Milliseconds since 1970. */
  at: number;
  text: string;
}

/**
 * What happened between two states of a stream. Without an earlier state: all that the state itself tells,
 * so that a page opened late starts with the right times.
 */
export function changes(
  before: LiveStream | undefined,
  after: LiveStream,
  now: number = Date.now(),
): LogEntry[] {
  const entries: LogEntry[] = [];
  const add = (text: string, when: string | null) =>
    entries.push({ at: toDate(when)?.getTime() ?? now, text });
  const startedBefore = before?.startTime ?? null;
  const known = new Map(before?.feeds.map((feed) => [feed.feedId, feed]));
  if (after.startTime && after.startTime !== startedBefore)
    add(strings.monitoring.logStreamStart, after.startTime);
  for (const feed of after.feeds) {
    const was = known.get(feed.feedId);
    const name = feed.sourceId || strings.monitoring.mainSource;
    if (feed.startTime && !was?.startTime) add(strings.monitoring.logFeedStart(name), feed.startTime);
    if (before ? was?.active && !feed.active : feed.endTime && !feed.active) {
      add(strings.monitoring.logFeedEnd(name), feed.endTime);
    }
  }
  if (before ? before.live && !after.live : after.endTime && !after.live) {
    add(strings.monitoring.logStreamEnd, after.endTime);
  }
  return entries;
}

/** One list, newest first, without what both tell. Ends of the same second count as the same. */
export function mergeLogs(...logs: LogEntry[][]): LogEntry[] {
  const seen = new Map<string, LogEntry>();
  for (const entry of logs.flat()) {
    const key = `${Math.round(entry.at / 1000)} ${entry.text}`;
    if (!seen.has(key)) seen.set(key, entry);
  }
  return [...seen.values()].sort((a, b) => b.at - a.at);
}
