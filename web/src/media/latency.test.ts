import { describe, expect, it } from 'vitest';
import { frameAge, stampAge } from './latency';

describe('latency', () => {
  it('takes the age of a frame from one clock', () => {
    expect(frameAge({ captureTime: 1000, expectedDisplayTime: 1180 })).toBe(180);
    expect(frameAge({ expectedDisplayTime: 1180 })).toBeNull();
  });

  it('takes the age of a stamp over the NTP epoch', () => {
    const origin = 1_800_000_000_000;
    const captured = origin + 5_000 + 2_208_988_800_000;
    expect(stampAge({ timestamp: 5_200, captureTimestamp: captured }, origin)).toBe(200);
    expect(
      stampAge({ timestamp: 5_200, captureTimestamp: captured, senderCaptureTimeOffset: 50 }, origin),
    ).toBe(150);
  });

  it('shows nothing rather than an absurd figure', () => {
    expect(frameAge({ captureTime: 2000, expectedDisplayTime: 1000 })).toBeNull();
    expect(stampAge({ timestamp: 0, captureTimestamp: 0 }, 1_800_000_000_000)).toBeNull();
  });
});
