/**
 * How old the picture on the screen is, from capture to display. Two ways, the better one first:
 * 1. the capture time the browser maps onto its own clock from the sender reports
 *    (`requestVideoFrameCallback`), which needs no agreement between the two computers' clocks;
 * 2. the capture time stamped by the publisher (abs-capture-time), which does.
 */
const NTP_TO_UNIX_MS = 2_208_988_800_000;
const PLAUSIBLE_MS = 60_000;

export interface Latency {
  /** ms */
  value: number;
  /** Whether it compares the clocks of two computers, which may disagree. */
  comparesClocks: boolean;
}

interface FrameMetadata {
  expectedDisplayTime: number;
  captureTime?: number;
}

interface CaptureStamp {
  timestamp: number;
  captureTimestamp?: number;
  senderCaptureTimeOffset?: number;
}

export class LatencyProbe {
  readonly #video: HTMLVideoElement;
  #callback = 0;
  #fromFrame: { value: number; at: number } | null = null;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
    this.#arm();
  }

  /** The newest figure; null where the browser or the publisher gives none. */
  read(peer: RTCPeerConnection): Latency | null {
    if (this.#fromFrame && performance.now() - this.#fromFrame.at < 3_000)
      return { value: this.#fromFrame.value, comparesClocks: false };
    for (const receiver of peer.getReceivers()) {
      if (receiver.track.kind !== 'video') continue;
      for (const source of receiver.getSynchronizationSources() as CaptureStamp[]) {
        const value = stampAge(source, performance.timeOrigin);
        if (value !== null) return { value, comparesClocks: true };
      }
    }
    return null;
  }

  close(): void {
    this.#video.cancelVideoFrameCallback?.(this.#callback);
  }

  #arm(): void {
    if (!this.#video.requestVideoFrameCallback) return;
    this.#callback = this.#video.requestVideoFrameCallback((now, metadata) => {
      const value = frameAge(metadata as FrameMetadata);
      if (value !== null) this.#fromFrame = { value: smooth(this.#fromFrame?.value, value), at: now };
      this.#arm();
    });
  }
}

/** Age of a frame when it is shown, ms; null when unknown or absurd. */
export function frameAge({ captureTime, expectedDisplayTime }: FrameMetadata): number | null {
  return captureTime === undefined ? null : plausible(expectedDisplayTime - captureTime);
}

/** Age of a stamped packet when it is played, ms. `timeOrigin` is `performance.timeOrigin`. */
export function stampAge(stamp: CaptureStamp, timeOrigin: number): number | null {
  if (stamp.captureTimestamp === undefined) return null;
  const captured = stamp.captureTimestamp - NTP_TO_UNIX_MS + (stamp.senderCaptureTimeOffset ?? 0);
  return plausible(timeOrigin + stamp.timestamp - captured);
}

function plausible(ms: number): number | null {
  return Number.isFinite(ms) && ms >= 0 && ms < PLAUSIBLE_MS ? ms : null;
}

function smooth(before: number | undefined, now: number): number {
  return before === undefined ? now : before * 0.9 + now * 0.1;
}
