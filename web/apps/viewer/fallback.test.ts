import { beforeEach, expect, test, vi } from 'vitest';
import type { WhepState } from '$media/whep';

let falls: (state: WhepState) => boolean;
let refused: (status: number) => WhepState;

beforeEach(async () => {
  // What was lost is counted for the page.
  vi.resetModules();
  ({ falls } = await import('./fallback'));
  const { SignallingError } = await import('$media/signalling');
  refused = (status) => ({ name: 'ended', ending: new SignallingError(status, 'No.') });
});

const lost = (cause: 'network' | 'unreachable' | 'restart'): WhepState => ({
  name: 'reconnecting',
  cause,
  delay: 500,
});

test('a network that lets nothing through is left at once', () => {
  expect(falls({ name: 'connecting' })).toBe(false);
  expect(falls(lost('unreachable'))).toBe(true);
});

test('other losses are borne for a while', () => {
  expect([falls(lost('network')), falls(lost('network')), falls(lost('network'))]).toEqual([
    false,
    false,
    true,
  ]);
});

test('what has worked once is not given up', () => {
  falls({ name: 'playing' });
  for (let time = 0; time < 5; time += 1) expect(falls(lost('unreachable'))).toBe(false);
});

test('no common codec and no WebRTC at all are reasons, a refusal is none', () => {
  expect(falls(refused(406))).toBe(true);
  expect(falls(refused(401))).toBe(false);
  expect(falls({ name: 'ended', ending: new Error('RTCPeerConnection is not defined') })).toBe(true);
});
