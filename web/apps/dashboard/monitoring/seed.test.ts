import { expect, test } from 'vitest';
import type { FeedDetails } from '$api';
import { pointsOf } from './seed';

function feed(
  rows: [timestamp: string, video: number, audio: number, frames: number, loss: number][],
): FeedDetails {
  return {
    feedStats: rows.map(([timestamp, , , , packetLoss]) => ({ timestamp, packetLoss })),
    trackDetails: [
      {
        encodingDetails: [
          {
            encodingStats: rows.map(([timestamp, videoBitrate, audioBitrate, frames]) => ({
              timestamp,
              bitRate: { videoBitrate, audioBitrate },
              frames,
              rtt: 12,
            })),
          },
        ],
      },
    ],
  } as unknown as FeedDetails;
}

test('sources of the same second are added up, the worst loss and best frame rate count', () => {
  const points = pointsOf([
    feed([
      ['2026-11-21T07:00:01Z', 1000, 100, 30, 0.01],
      ['2026-11-21T07:00:00Z', 900, 100, 29, 0],
    ]),
    feed([['2026-11-21T07:00:01Z', 500, 0, 15, 0.05]]),
  ]);
  expect(points.map((point) => [point.at % 60, point.bitrateBps, point.fps, point.packetLoss])).toEqual([
    [0, 1000, 29, 0],
    [1, 1600, 30, 0.05],
  ]);
});

test('a timestamp nobody can read is left out', () => {
  expect(pointsOf([feed([['soon', 1, 1, 1, 0]])])).toEqual([]);
});
