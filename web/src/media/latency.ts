/**
 * How old the picture on the screen is, from capture to display. Two ways, the better one first:
 * 1. the capture time the browser maps onto its own clock (`requestVideoFrameCallback`), which needs
 *    no agreement between the two computers' clocks, but which few browsers give for a remote stream;
 * 2. the capture time stamped by the publisher (abs-capture-time), carried from the newest packet to
 *    the frame on the screen by their RTP timestamps.
 */
const NTP_TO_UNIX_MS = 2_208_988_800_000;
const VIDEO_CLOCK_KHZ = 90;
const PLAUSIBLE_MS = 60_000;

export interface Latency {
  /** ms */
  value: number;
  /** Whether it compares the clocks of two computers, which may disagree. */
  comparesClocks: boolean;
}

interface Frame {
  /** ms since `performance.timeOrigin` */
  expectedDisplayTime: number;
  captureTime?: number;
  rtpTimestamp?: number;
}

interface CaptureStamp {
  rtpTimestamp?: number;
  /** NTP time in ms */
  captureTimestamp?: number;
  senderCaptureTimeOffset?: number;
}

export class LatencyProbe {
  readonly #video: HTMLVideoElement;
  #callback = 0;
  #frame: Frame | null = null;
  #smoothed: Latency | null = null;

  constructor(video: HTMLVideoElement) {
    this.#video = video;
    this.#arm();
  }

  /** The newest figure; null where the browser or the publisher gives none. */
  read(peer: RTCPeerConnection): Latency | null {
    const frame = this.#frame;
    this.#frame = null;
    if (!frame) return null;
    const now = this.#measure(frame, peer);
    this.#smoothed = now && smooth(this.#smoothed, now);
    return this.#smoothed;
  }

  #measure(frame: Frame, peer: RTCPeerConnection): Latency | null {
    const mapped = frameAge(frame);
    if (mapped !== null) return { value: mapped, comparesClocks: false };
    for (const receiver of peer.getReceivers()) {
      if (receiver.track.kind !== 'video') continue;
      for (const stamp of receiver.getSynchronizationSources() as CaptureStamp[]) {
        const value = stampedAge(frame, stamp, performance.timeOrigin);
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
    this.#callback = this.#video.requestVideoFrameCallback((_now, metadata) => {
      this.#frame = metadata as Frame;
      this.#arm();
    });
  }
}

/** Age of a frame when it is shown, ms; null when unknown or absurd. */
export function frameAge({ captureTime, expectedDisplayTime }: Frame): number | null {
  return captureTime === undefined ? null : plausible(expectedDisplayTime - captureTime);
}

/** The same from a packet's stamp. `timeOrigin` is `performance.timeOrigin`. */
export function stampedAge(frame: Frame, stamp: CaptureStamp, timeOrigin: number): number | null {
  if (stamp.captureTimestamp === undefined) return null;
  const { rtpTimestamp: shown } = frame;
  const { rtpTimestamp: stamped } = stamp;
  // RTP timestamps wrap at 32 bits: the difference is taken as a signed number.
  const behind = shown === undefined || stamped === undefined ? 0 : ((shown - stamped) | 0) / VIDEO_CLOCK_KHZ;
  const captured = stamp.captureTimestamp - NTP_TO_UNIX_MS + (stamp.senderCaptureTimeOffset ?? 0) + behind;
  return plausible(timeOrigin + frame.expectedDisplayTime - captured);
}

function plausible(ms: number): number | null {
  return Number.isFinite(ms) && ms >= 0 && ms < PLAUSIBLE_MS ? ms : null;
}

function smooth(before: Latency | null, now: Latency): Latency {
  if (before?.comparesClocks !== now.comparesClocks) return now;
  return { ...now, value: before.value * 0.6 + now.value * 0.4 };
}
