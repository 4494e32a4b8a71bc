import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SessionEvents } from './session-events';

/** An event source of which the test says what it hears. */
class FakeSource extends EventTarget {
  static readonly CLOSED = 2;
  static readonly all: FakeSource[] = [];
  readyState = 1;
  constructor(readonly url: string) {
    super();
    FakeSource.all.push(this);
  }
  close(): void {
    this.readyState = FakeSource.CLOSED;
  }
  say(name: string, data: object): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
  }
}

let asked: unknown[];

beforeEach(() => {
  asked = [];
  FakeSource.all.length = 0;
  vi.stubGlobal('EventSource', FakeSource);
  vi.stubGlobal('fetch', async (url: string, { body }: { body: string }) => {
    asked.push(JSON.parse(body));
    return { ok: true, url, headers: new Headers({ Location: '/s/sse/1' }) };
  });
});

afterEach(() => {
  hide(false);
  vi.unstubAllGlobals();
});

function hide(hidden: boolean): void {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}

async function source(): Promise<FakeSource> {
  await vi.waitFor(() => expect(FakeSource.all).not.toHaveLength(0));
  return FakeSource.all.at(-1) as FakeSource;
}

test('a viewer does not listen while its page is hidden', async () => {
  const events = new SessionEvents('http://here/s/sse', () => undefined);
  const first = await source();
  hide(true);
  expect(first.readyState).toBe(FakeSource.CLOSED);
  hide(false);
  await vi.waitFor(() => expect(FakeSource.all).toHaveLength(2));
  events.close();
});

test('a publisher hears which layers are needed while its page is hidden', async () => {
  const heard: string[] = [];
  const listening = { names: ['wantedlayers'] as const, always: true };
  const events = new SessionEvents('http://here/s/sse', (name) => heard.push(name), listening);
  const only = await source();
  expect(asked).toEqual([['wantedlayers']]);
  hide(true);
  only.say('wantedlayers', { medias: {} });
  only.say('viewercount', { viewercount: 1 });
  expect(heard).toEqual(['wantedlayers']);
  expect(only.readyState).toBe(1);
  events.close();
});

test('it is told that nothing is heard for a while', async () => {
  let losses = 0;
  const lost = () => {
    losses += 1;
  };
  const events = new SessionEvents('http://here/s/sse', () => undefined, { lost });
  const first = await source();
  // The browser tries again by itself.
  first.readyState = 0;
  first.dispatchEvent(new Event('error'));
  expect(losses).toBe(1);
  events.close();
  first.dispatchEvent(new Event('error'));
  expect(losses).toBe(1);
});
