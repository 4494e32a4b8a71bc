import { describe, expect, it } from 'vitest';
import { frameAge, stampedAge } from './latency';

const ORIGIN = 1_800_000_000_000;
/** NTP time of an instant given in ms since `ORIGIN`. */
const ntp = (ms: number) => ORIGIN + ms + 2_208_988_800_000;

describe('frameAge', () => {
  it('takes the age of a frame from one clock', () => {
    expect(frameAge({ captureTime: 1000, expectedDisplayTime: 1180 })).toBe(180);
    expect(frameAge({ expectedDisplayTime: 1180 })).toBeNull();
  });

  it('shows nothing rather than an absurd figure', () => {
    expect(frameAge({ captureTime: 2000, expectedDisplayTime: 1000 })).toBeNull();
  });
});

describe('stampedAge', () => {
  const frame = { expectedDisplayTime: 5_200, rtpTimestamp: 90_000 };

  it('carries the stamp of a newer packet back to the frame on the screen', () => {
    const stamp = { captureTimestamp: ntp(5_100), rtpTimestamp: 90_000 + 33 * 90 };
    expect(stampedAge(frame, stamp, ORIGIN)).toBe(133);
  });

  it('survives the wrap of RTP timestamps', () => {
    const late = { ...frame, rtpTimestamp: 2 ** 32 - 900 };
    expect(stampedAge(late, { captureTimestamp: ntp(5_100), rtpTimestamp: 900 }, ORIGIN)).toBe(120);
  });

  it("takes the sender's clock offset into account", () => {
    const stamp = { captureTimestamp: ntp(5_000), rtpTimestamp: 90_000, senderCaptureTimeOffset: 50 };
    expect(stampedAge(frame, stamp, ORIGIN)).toBe(150);
  });

  it('is unknown without a stamp or with an absurd one', () => {
    expect(stampedAge(frame, {}, ORIGIN)).toBeNull();
    expect(stampedAge(frame, { captureTimestamp: 0 }, ORIGIN)).toBeNull();
  });
});
