/**
 * `getStats` reports boiled down to what a person wants to know. Rates are differences between two
 * reports, so the first report of a connection gives figures without rates. Pure: reports come in as
 * arguments.
 */
export interface PublishStats {
  /** Sent, bit/s. */
  videoBitrate: number | null;
  audioBitrate: number | null;
  fps: number | null;
  width: number | null;
  height: number | null;
  videoCodec: string | null;
  audioCodec: string | null;
  /** ms */
  rtt: number | null;
  /** Share of packets the server missed, 0–1. */
  loss: number | null;
  /** ms, as the server sees it. */
  jitter: number | null;
  /** What the browser thinks the network carries, bit/s. */
  available: number | null;
  /** Why the browser sends a smaller picture than asked: `cpu`, `bandwidth` or null. */
  limitedBy: string | null;
  encoder: string | null;
  keyFrames: number | null;
  nacks: number | null;
  plis: number | null;
}

export interface ViewStats {
  /** Received, bit/s. */
  videoBitrate: number | null;
  audioBitrate: number | null;
  fps: number | null;
  width: number | null;
  height: number | null;
  videoCodec: string | null;
  audioCodec: string | null;
  /** Share of packets lost since the last report, 0–1. */
  loss: number | null;
  packetsLost: number;
  bytes: number;
  /** ms */
  jitter: number | null;
  /** ms */
  rtt: number | null;
  /** Mean time in the jitter buffer, ms. */
  buffer: number | null;
  framesDecoded: number | null;
  framesDropped: number | null;
  freezes: number | null;
  decoder: string | null;
  protocol: string | null;
}

/** The members of the standard reports that are read here; all are optional in some browser. */
interface Entry {
  id: string;
  type: string;
  kind?: string;
  timestamp: number;
  [member: string]: unknown;
}

type Report = Iterable<Entry>;

/** Remembers the last report of one connection. */
export class StatsSampler {
  #before = new Map<string, Entry>();
  #peer: RTCPeerConnection | null = null;

  async publish(peer: RTCPeerConnection): Promise<PublishStats> {
    const { entries, before } = await this.#take(peer);
    return publishStats(entries, before);
  }

  async view(peer: RTCPeerConnection): Promise<ViewStats> {
    const { entries, before } = await this.#take(peer);
    return viewStats(entries, before);
  }

  async #take(peer: RTCPeerConnection): Promise<{ entries: Entry[]; before: Map<string, Entry> }> {
    const entries = [...((await peer.getStats()) as unknown as Map<string, Entry>).values()];
    const before = peer === this.#peer ? this.#before : new Map<string, Entry>();
    this.#peer = peer;
    this.#before = new Map(entries.map((entry) => [entry.id, entry]));
    return { entries, before };
  }
}

export function publishStats(report: Report, before: ReadonlyMap<string, Entry>): PublishStats {
  const entries = [...report];
  const video = largest(entries, 'outbound-rtp', 'video');
  const audio = largest(entries, 'outbound-rtp', 'audio');
  const remote = entries.find(
    ({ type, localId }) => type === 'remote-inbound-rtp' && localId === (video ?? audio)?.id,
  );
  const pair = selectedPair(entries);
  return {
    videoBitrate: sentBitrate(entries, before),
    audioBitrate: bitrate(audio, before, 'bytesSent'),
    fps: num(video, 'framesPerSecond') ?? rate(video, before, 'framesEncoded'),
    width: num(video, 'frameWidth'),
    height: num(video, 'frameHeight'),
    videoCodec: codecName(entries, video),
    audioCodec: codecName(entries, audio),
    rtt: milliseconds(num(pair, 'currentRoundTripTime') ?? num(remote, 'roundTripTime')),
    loss: num(remote, 'fractionLost'),
    jitter: milliseconds(num(remote, 'jitter')),
    available: num(pair, 'availableOutgoingBitrate'),
    limitedBy: limitation(video),
    encoder: text(video, 'encoderImplementation'),
    keyFrames: num(video, 'keyFramesEncoded'),
    nacks: num(video, 'nackCount'),
    plis: num(video, 'pliCount'),
  };
}

export function viewStats(report: Report, before: ReadonlyMap<string, Entry>): ViewStats {
  const entries = [...report];
  const video = largest(entries, 'inbound-rtp', 'video');
  const audio = largest(entries, 'inbound-rtp', 'audio');
  const pair = selectedPair(entries);
  const both = [video, audio].filter((entry) => entry !== undefined);
  const lost = sum(both, before, 'packetsLost');
  const received = sum(both, before, 'packetsReceived');
  const waited = delta(video ?? audio, before, 'jitterBufferDelay');
  const emitted = delta(video ?? audio, before, 'jitterBufferEmittedCount');
  const local = entries.find(({ id }) => id === pair?.localCandidateId);
  return {
    videoBitrate: bitrate(video, before, 'bytesReceived'),
    audioBitrate: bitrate(audio, before, 'bytesReceived'),
    fps: num(video, 'framesPerSecond') ?? rate(video, before, 'framesDecoded'),
    width: num(video, 'frameWidth'),
    height: num(video, 'frameHeight'),
    videoCodec: codecName(entries, video),
    audioCodec: codecName(entries, audio),
    loss:
      received === null || lost === null || received + lost <= 0
        ? null
        : Math.max(0, lost) / (received + lost),
    packetsLost: both.reduce((total, entry) => total + (num(entry, 'packetsLost') ?? 0), 0),
    bytes: both.reduce((total, entry) => total + (num(entry, 'bytesReceived') ?? 0), 0),
    jitter: milliseconds(num(video ?? audio, 'jitter')),
    rtt: milliseconds(num(pair, 'currentRoundTripTime')),
    buffer: waited !== null && emitted ? (waited / emitted) * 1000 : null,
    framesDecoded: num(video, 'framesDecoded'),
    framesDropped: num(video, 'framesDropped'),
    freezes: num(video, 'freezeCount'),
    decoder: text(video, 'decoderImplementation'),
    protocol: text(local, 'protocol'),
  };
}

/** All encodings of the picture together. */
function sentBitrate(entries: Entry[], before: ReadonlyMap<string, Entry>): number | null {
  const rates = entries
    .filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
    .map((entry) => bitrate(entry, before, 'bytesSent'))
    .filter((value) => value !== null);
  return rates.length === 0 ? null : rates.reduce((total, value) => total + value, 0);
}

/** Of several encodings the one with the largest picture: it is the one a person means. */
function largest(entries: Entry[], type: string, kind: string): Entry | undefined {
  return entries
    .filter((entry) => entry.type === type && entry.kind === kind)
    .sort((a, b) => (num(b, 'frameHeight') ?? 0) - (num(a, 'frameHeight') ?? 0))[0];
}

function selectedPair(entries: Entry[]): Entry | undefined {
  const transport = entries.find(({ type }) => type === 'transport');
  const pairs = entries.filter(({ type }) => type === 'candidate-pair');
  return (
    pairs.find(({ id }) => id === transport?.selectedCandidatePairId) ??
    // Firefox has no transport report.
    pairs.find(
      ({ selected, nominated, state }) => selected === true || (nominated === true && state === 'succeeded'),
    )
  );
}

function codecName(entries: Entry[], rtp: Entry | undefined): string | null {
  const mimeType = text(
    entries.find(({ id }) => id === rtp?.codecId),
    'mimeType',
  );
  return mimeType ? mimeType.replace(/^.*\//, '') : null;
}

function limitation(video: Entry | undefined): string | null {
  const reason = text(video, 'qualityLimitationReason');
  return reason === 'cpu' || reason === 'bandwidth' ? reason : null;
}

function delta(entry: Entry | undefined, before: ReadonlyMap<string, Entry>, member: string): number | null {
  const now = num(entry, member);
  const then = num(before.get(entry?.id ?? ''), member);
  return now === null || then === null ? null : now - then;
}

function sum(entries: Entry[], before: ReadonlyMap<string, Entry>, member: string): number | null {
  const deltas = entries.map((entry) => delta(entry, before, member)).filter((value) => value !== null);
  return deltas.length === 0 ? null : deltas.reduce((total, value) => total + value, 0);
}

function rate(entry: Entry | undefined, before: ReadonlyMap<string, Entry>, member: string): number | null {
  const change = delta(entry, before, member);
  const ms = (entry?.timestamp ?? 0) - (before.get(entry?.id ?? '')?.timestamp ?? 0);
  return change === null || ms <= 0 ? null : Math.max(0, change / (ms / 1000));
}

function bitrate(
  entry: Entry | undefined,
  before: ReadonlyMap<string, Entry>,
  member: string,
): number | null {
  const bytes = rate(entry, before, member);
  return bytes === null ? null : bytes * 8;
}

function num(entry: Entry | undefined, member: string): number | null {
  const value = entry?.[member];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function text(entry: Entry | undefined, member: string): string | null {
  const value = entry?.[member];
  return typeof value === 'string' && value !== '' ? value : null;
}

function milliseconds(seconds: number | null): number | null {
  return seconds === null ? null : seconds * 1000;
}
