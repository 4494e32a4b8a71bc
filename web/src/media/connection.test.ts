import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connection } from './connection';
import { SignallingSession } from './signalling';

/** A peer connection of which the test says how it fares. */
class FakePeer extends EventTarget {
  connectionState = 'new';
  remoteDescription = { sdp: 'v=0\r\n' };
  createOffer = async () => ({ sdp: 'v=0\r\n' });
  setLocalDescription = async () => undefined;
  setRemoteDescription = async () => undefined;
  setConfiguration = () => undefined;
  getTransceivers = () => [];
  close = () => undefined;
  become(state: string) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }
}

let peer: FakePeer;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    'RTCPeerConnection',
    class extends FakePeer {
      constructor() {
        super();
        peer = this;
      }
    },
  );
  const session = {
    iceServers: [],
    restart: () => new Promise<string>(() => undefined),
    end: async () => undefined,
    trickle: async () => undefined,
  };
  vi.spyOn(SignallingSession, 'create').mockResolvedValue({
    session: session as unknown as SignallingSession,
    answer: 'v=0\r\na=ice-lite\r\n',
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function open(): Promise<string[]> {
  const connection = await Connection.open({
    endpoint: '/api/whep/a/s',
    token: null,
    prepare: () => undefined,
  });
  const lost: string[] = [];
  connection.on('lost', (reason) => lost.push(reason));
  return lost;
}

test('a connection that never got through was not reached, however the browser puts it', async () => {
  const lost = await open();
  peer.become('connecting');
  peer.become('disconnected');
  await vi.advanceTimersByTimeAsync(20_000);
  expect(lost).toEqual(['unreachable']);
});

test('a connection that worked has lost its network', async () => {
  const lost = await open();
  peer.become('connected');
  peer.become('disconnected');
  await vi.advanceTimersByTimeAsync(20_000);
  expect(lost).toEqual(['network']);
});
