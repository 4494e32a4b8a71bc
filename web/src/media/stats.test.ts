import { describe, expect, it } from 'vitest';
import { connectionQuality } from './quality';
import { publishStats, viewStats } from './stats';

type Entry = Parameters<typeof viewStats>[0] extends Iterable<infer E> ? E : never;

const byId = (entries: Entry[]) => new Map(entries.map((entry) => [entry.id, entry]));

function view(at: number, bytes: number, lost: number, received: number): Entry[] {
  return [
    {
      id: 'v',
      type: 'inbound-rtp',
      kind: 'video',
      timestamp: at,
      bytesReceived: bytes,
      packetsReceived: received,
      packetsLost: lost,
      frameWidth: 1280,
      frameHeight: 720,
      framesPerSecond: 30,
      codecId: 'c',
      jitter: 0.004,
      jitterBufferDelay: at / 1000,
      jitterBufferEmittedCount: at / 20,
    },
    { id: 'c', type: 'codec', timestamp: at, mimeType: 'video/H264' },
    {
      id: 'p',
      type: 'candidate-pair',
      timestamp: at,
      nominated: true,
      state: 'succeeded',
      currentRoundTripTime: 0.012,
      localCandidateId: 'l',
    },
    { id: 'l', type: 'local-candidate', timestamp: at, protocol: 'udp' },
  ];
}

describe('viewStats', () => {
  it('has no rates in a first report', () => {
    const stats = viewStats(view(1000, 5000, 0, 10), new Map());
    expect(stats).toMatchObject({ videoBitrate: null, loss: null, width: 1280, videoCodec: 'H264', rtt: 12 });
  });

  it('takes rates from two reports', () => {
    const stats = viewStats(view(2000, 255_000, 2, 208), byId(view(1000, 5000, 0, 10)));
    expect(stats.videoBitrate).toBe(2_000_000);
    expect(stats.loss).toBeCloseTo(0.01);
    expect(stats.buffer).toBeCloseTo(20);
    expect(stats.protocol).toBe('udp');
  });

  it('does not call late retransmissions a negative loss', () => {
    const stats = viewStats(view(2000, 9000, 1, 110), byId(view(1000, 5000, 5, 10)));
    expect(stats.loss).toBe(0);
  });

  it('is empty for an empty report', () => {
    expect(viewStats([], new Map())).toMatchObject({ width: null, packetsLost: 0, bytes: 0, rtt: null });
  });
});

describe('publishStats', () => {
  it('shows the largest layer and what the server reports about it', () => {
    const layer = (id: string, frameHeight: number): Entry => ({
      id,
      type: 'outbound-rtp',
      kind: 'video',
      timestamp: 1000,
      frameHeight,
      qualityLimitationReason: 'bandwidth',
    });
    const stats = publishStats(
      [
        layer('s', 180),
        layer('l', 720),
        {
          id: 'r',
          type: 'remote-inbound-rtp',
          timestamp: 1000,
          localId: 'l',
          fractionLost: 0.02,
          roundTripTime: 0.05,
        },
      ],
      new Map(),
    );
    expect(stats).toMatchObject({ height: 720, limitedBy: 'bandwidth', loss: 0.02, rtt: 50 });
  });
});

describe('connectionQuality', () => {
  it('is unknown without figures', () => {
    expect(connectionQuality({ rtt: null, loss: null, starved: false })).toBe(0);
  });

  it('follows the worse of loss and delay', () => {
    expect(connectionQuality({ rtt: 20, loss: 0, starved: false })).toBe(4);
    expect(connectionQuality({ rtt: 20, loss: 0.05, starved: false })).toBe(2);
    expect(connectionQuality({ rtt: 700, loss: 0, starved: false })).toBe(1);
  });

  it('is at best fair when the network starves the picture', () => {
    expect(connectionQuality({ rtt: 20, loss: 0, starved: true })).toBe(2);
  });
});
