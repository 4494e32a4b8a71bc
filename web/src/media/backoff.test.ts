import { describe, expect, it } from 'vitest';
import { Backoff, pause } from './backoff';

describe('Backoff', () => {
  it('doubles up to its longest delay', () => {
    const backoff = new Backoff({ base: 500, max: 3000, random: () => 0.999999 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([500, 1000, 2000, 3000, 3000]);
  });

  it('never waits less than half a step', () => {
    const backoff = new Backoff({ base: 1000, max: 8000, random: () => 0 });
    expect([backoff.next(), backoff.next()]).toEqual([500, 1000]);
  });

  it('starts over after a reset', () => {
    const backoff = new Backoff({ base: 500, random: () => 0 });
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.attempt).toBe(0);
    expect(backoff.next()).toBe(250);
  });

  it('does not overflow after very many attempts', () => {
    const backoff = new Backoff({ max: 15_000, random: () => 0 });
    for (let i = 0; i < 5000; i += 1) backoff.next();
    expect(backoff.next()).toBe(7500);
  });
});

describe('pause', () => {
  it('rejects when aborted', async () => {
    const abort = new AbortController();
    const waiting = pause(60_000, abort.signal);
    abort.abort(new Error('stop'));
    await expect(waiting).rejects.toThrow('stop');
  });

  it('ends early when the browser is online again', async () => {
    const waiting = pause(60_000);
    dispatchEvent(new Event('online'));
    await expect(waiting).resolves.toBeUndefined();
  });
});
