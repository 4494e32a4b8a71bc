import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HlsFeed } from './hls';

type Listener = (name: string, data: unknown) => void;

const { players, FakeHls } = vi.hoisted(() => {
  const players: FakeHls[] = [];
  /** hls.js as far as the feed uses it; the test says what it finds. */
  class FakeHls {
    static readonly Events = {
      LEVELS_UPDATED: 'levels',
      MANIFEST_PARSED: 'manifest',
      LEVEL_LOADED: 'loaded',
      LEVEL_UPDATED: 'updated',
      FRAG_BUFFERED: 'buffered',
      ERROR: 'error',
    };
    static readonly ErrorTypes = { MEDIA_ERROR: 'media' };
    static isSupported = () => true;
    readonly listeners = new Map<string, Listener[]>();
    levels: object[] = [];
    loadLevel = -1;
    nextLevel = -1;
    autoLevelEnabled = true;
    liveSyncPosition: number | null = null;
    latestLevelDetails: { targetduration: number } | null = null;
    constructor() {
      players.push(this);
    }
    on(name: string, listener: Listener) {
      this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
    }
    emit(name: string, data: object = {}) {
      for (const listener of this.listeners.get(name) ?? []) listener(name, data);
    }
    /** A playlist was loaded that goes on, or has ended. */
    load(live: boolean) {
      this.emit('loaded', { details: { live } });
      this.emit('updated', { details: { live } });
    }
    attachMedia() {}
    loadSource() {}
    destroy() {}
  }
  return { players, FakeHls };
});
vi.mock('hls.js', () => ({ default: FakeHls }));

let video: HTMLVideoElement;
let feed: HlsFeed;
let address: () => Promise<string>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', async () => new Response('#EXTM3U\n'));
  players.length = 0;
  address = async () => 'http://h/a/s/manifest/video.m3u8';
  video = document.createElement('video');
  feed = new HlsFeed({ video, address: () => address() });
});

afterEach(async () => {
  await feed.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** The newest player, once the feed has made that many. */
async function player(number: number) {
  for (let turn = 0; players.length < number && turn < 100; turn += 1) await vi.advanceTimersByTimeAsync(100);
  expect(players.length).toBe(number);
  return players[number - 1] as InstanceType<typeof FakeHls>;
}

test('a server that is away for a moment is asked again', async () => {
  address = () => Promise.reject(new TypeError('Failed to fetch'));
  feed.start();
  await vi.advanceTimersByTimeAsync(1);
  expect(feed.state.name).toBe('waiting');
  address = async () => 'http://h/a/s/manifest/video.m3u8';
  (await player(1)).load(true);
  expect(feed.live).toBe(true);
});

test('a broadcast that ends is played to its end and not again', async () => {
  feed.start();
  const first = await player(1);
  first.load(true);
  first.emit('buffered');
  expect([feed.state.name, feed.live]).toEqual(['playing', true]);
  first.load(false);
  expect([feed.state.name, feed.live]).toEqual(['playing', false]);
  video.dispatchEvent(new Event('ended'));
  await vi.advanceTimersByTimeAsync(1);
  expect(feed.state.name).toBe('waiting');
  const states: string[] = [];
  feed.on('state', ({ name }) => states.push(name));
  (await player(2)).load(false);
  (await player(3)).load(false);
  expect(new Set(states)).toEqual(new Set(['waiting']));
});

test('the next broadcast plays', async () => {
  feed.start();
  (await player(1)).load(false);
  const next = await player(2);
  next.load(true);
  next.emit('buffered');
  expect([feed.state.name, feed.live]).toEqual(['playing', true]);
});

test('a chosen quality is asked for again with the next connection', async () => {
  const levels = [
    { uri: 'http://h/a/s/v/live.m3u8?_session=1', height: 720, averageBitrate: 2e6, audioCodec: undefined },
    { uri: 'http://h/a/s/w/live.m3u8?_session=1', height: 360, averageBitrate: 5e5, audioCodec: undefined },
  ];
  const told: string[][] = [];
  feed.on('qualities', (list) => told.push(list.map(({ label }) => label)));
  feed.start();
  const first = await player(1);
  first.levels = levels;
  first.emit('manifest');
  expect(told).toEqual([['720p', '360p']]);
  feed.select({ encodingId: '/a/s/w/live.m3u8' });
  expect(first.nextLevel).toBe(1);
  first.emit('error', { fatal: true, type: 'network' });
  const second = await player(2);
  second.levels = levels;
  second.emit('manifest');
  expect(second.nextLevel).toBe(1);
  second.autoLevelEnabled = false;
  second.loadLevel = 1;
  feed.select(null);
  expect(second.nextLevel).toBe(-1);
});
