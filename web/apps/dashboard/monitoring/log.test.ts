import { describe, expect, test } from 'vitest';
import type { LiveStream } from '$api';
import { changes, mergeLogs } from './log';

const START = '2026-11-21T07:00:00Z';
const END = '2026-11-21T07:10:00Z';

function stream(live: boolean): LiveStream {
  return {
    live,
    startTime: START,
    endTime: live ? null : END,
    feeds: [{ feedId: 'a', sourceId: null, active: live, startTime: START, endTime: live ? null : END }],
  } as unknown as LiveStream;
}

const words = (entries: { text: string }[]) => entries.map((entry) => entry.text);

describe('changes', () => {
  test('a start is told with its own time, however late it is heard of', () => {
    const entries = changes(undefined, stream(true), 0);
    expect(words(entries)).toEqual(['Stream started', 'Feed Main started']);
    expect(entries.every((entry) => entry.at === Date.parse(START))).toBe(true);
  });
  test('an end names feed and stream', () => {
    const entries = changes(stream(true), stream(false));
    expect(words(entries)).toEqual(['Feed Main ended', 'Stream ended']);
    expect(entries[0]?.at).toBe(Date.parse(END));
  });
  test('an ended stream alone tells its whole story', () => {
    expect(words(changes(undefined, stream(false)))).toHaveLength(4);
  });
  test('the same again says nothing', () => expect(changes(stream(true), stream(true))).toEqual([]));
});

test('two logs become one, newest first, without doubles', () => {
  const a = changes(undefined, stream(false));
  expect(words(mergeLogs(a, changes(undefined, stream(false))))[0]).toMatch(/ended/);
  expect(mergeLogs(a, a)).toHaveLength(4);
});
