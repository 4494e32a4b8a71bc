import { describe, expect, test } from 'vitest';
import type { LiveStream } from '$api';
import { History } from './history';
import { byToken } from './live.svelte';

const point = (at: number) => ({
  at,
  bitrateBps: at,
  viewerCount: 1,
  fps: 30,
  packetLoss: 0,
  rttMs: null,
});

function stream(
  name: string,
  feeds: { feedId: string; tokenId: number; active: boolean }[],
  live = true,
): LiveStream {
  return {
    streamId: `acc/${name}`,
    streamName: name,
    live,
    viewerCount: 2,
    feeds: feeds.map((feed) => ({ sourceId: null, ...feed })),
  } as unknown as LiveStream;
}

describe('byToken', () => {
  test('a stream belongs to every token with an active feed in it, once', () => {
    const one = stream('one', [
      { feedId: 'a', tokenId: 1, active: true },
      { feedId: 'b', tokenId: 1, active: true },
      { feedId: 'c', tokenId: 2, active: true },
      { feedId: 'd', tokenId: 3, active: false },
    ]);
    const map = byToken([one, stream('two', [{ feedId: 'e', tokenId: 1, active: true }])]);
    expect(map.get(1)?.map((each) => each.streamName)).toEqual(['one', 'two']);
    expect(map.get(2)?.length).toBe(1);
    expect(map.has(3)).toBe(false);
  });
  test('an ended stream belongs to none', () => {
    expect(byToken([stream('x', [{ feedId: 'a', tokenId: 1, active: true }], false)]).size).toBe(0);
  });
});

describe('History', () => {
  test('keeps five minutes and drops what is not newer', () => {
    const history = new History();
    for (let at = 0; at <= 1000; at++) history.add(point(at));
    history.add(point(1000));
    history.add(point(3));
    expect(history.times().at(0)).toBe(700);
    expect(history.times().length).toBe(301);
    expect(history.column('bitrateBps').at(-1)).toBe(1000);
  });
  test('a silence breaks the line', () => {
    const history = new History();
    history.add(point(10));
    history.add(point(40));
    expect(history.times()).toEqual([10, 11, 40]);
    expect(history.column('bitrateBps')).toEqual([10, null, 40]);
  });
  test('older points go in front, sorted, without doubles', () => {
    const history = new History();
    history.add(point(10));
    history.prepend([point(9), point(8), point(9), point(10), point(11)]);
    expect(history.times()).toEqual([8, 9, 10]);
  });
});
