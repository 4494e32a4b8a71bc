import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { WhepEvents, WhepState } from '$media/whep';
import { readParams } from './params';
import { StagecastPlayer } from './player';

const { made, FakeWhep, FakeHls } = await vi.hoisted(async () => {
  const { Emitter } = await import('../../src/media/emitter');
  class Feed extends Emitter<WhepEvents> {
    state: WhepState = { name: 'idle' };
    live = false;
    peer = null;
    seekable = null;
    latency = null;
    starts = 0;
    constructor() {
      super();
      made.push(this);
    }
    become(state: WhepState) {
      this.state = state;
      this.emit('state', state);
    }
    start() {
      this.starts += 1;
      this.become({ name: 'connecting' });
    }
    async stop() {
      this.become({ name: 'idle' });
    }
    select() {}
  }
  const made: Feed[] = [];
  return { made, FakeWhep: class FakeWhep extends Feed {}, FakeHls: class FakeHls extends Feed {} };
});
vi.mock('$media/whep', () => ({ Whep: FakeWhep }));
vi.mock('$media/hls', () => ({ HlsFeed: FakeHls }));

customElements.define('stagecast-player', StagecastPlayer);
let player: StagecastPlayer;

function plays(search: string) {
  const params = readParams(search);
  if (!params) throw new Error(`no stream in ${search}`);
  player.play(params);
}

beforeEach(() => {
  made.length = 0;
  player = document.createElement('stagecast-player') as StagecastPlayer;
  document.body.append(player);
});

afterEach(() => player.remove());

test('a network that lets no WebRTC through is played to by HLS, once', () => {
  plays('?streamId=a/s');
  expect(made.map((feed) => feed.constructor)).toEqual([FakeWhep]);
  made[0]?.become({ name: 'reconnecting', cause: 'unreachable', delay: 500 });
  expect(made.map((feed) => feed.constructor)).toEqual([FakeWhep, FakeHls]);
  expect(made.map(({ starts }) => starts)).toEqual([1, 1]);
  expect(made[0]?.state.name).toBe('idle');
  made[0]?.become({ name: 'reconnecting', cause: 'unreachable', delay: 500 });
  expect(made.length).toBe(2);
});

test('who asks for WebRTC keeps it', () => {
  plays('?streamId=a/s&protocol=webrtc');
  for (let time = 0; time < 4; time += 1)
    made[0]?.become({ name: 'reconnecting', cause: 'unreachable', delay: 500 });
  expect(made.length).toBe(1);
});

test('who asks for HLS gets nothing else', () => {
  plays('?streamId=a/s&protocol=hls');
  expect(made.map((feed) => feed.constructor)).toEqual([FakeHls]);
});
