/** The panel of figures: asks the connection once a second while it is open, and not otherwise. */
import { LatencyProbe } from '$media/latency';
import { StatsSampler, type ViewStats } from '$media/stats';
import {
  formatBitrate,
  formatCount,
  formatFps,
  formatMilliseconds,
  formatRatio,
  formatResolution,
} from '$ui/format';
import { el, iconButton } from './dom';
import { icons } from './icons';
import { strings } from './strings';

const NONE = '–';
type Row = keyof typeof strings.figures;

/** Where figures come from: a connection, or what a playlist tells. */
interface Feed {
  peer: RTCPeerConnection | null;
  /** Seconds from capture to display. */
  latency?: number | null;
}

export class StatsPanel {
  readonly element: HTMLElement;
  readonly #cells = new Map<Row, HTMLElement>();
  readonly #sampler = new StatsSampler();
  readonly #feed: () => Feed;
  readonly #video: HTMLVideoElement;
  #probe: LatencyProbe | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(video: HTMLVideoElement, feed: () => Feed, onClose: () => void) {
    this.#video = video;
    this.#feed = feed;
    const list = el('dl');
    for (const [row, label] of Object.entries(strings.figures)) {
      const cell = el('dd', { 'data-figure': row }, NONE);
      this.#cells.set(row as Row, cell);
      list.append(el('dt', {}, label), cell);
    }
    this.element = el(
      'section',
      { class: 'stats', 'data-testid': 'stats-panel', 'aria-label': strings.stats, hidden: true },
      iconButton(strings.closeStats, icons.close, 'stats-close', onClose),
      list,
    );
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  show(open: boolean): void {
    this.element.hidden = !open;
    clearInterval(this.#timer);
    this.#probe?.close();
    this.#probe = open ? new LatencyProbe(this.#video) : null;
    if (!open) return;
    void this.#refresh();
    this.#timer = setInterval(() => void this.#refresh(), 1_000);
  }

  async #refresh(): Promise<void> {
    const { peer, latency } = this.#feed();
    if (peer) this.#fill(await this.#sampler.view(peer), peer);
    else this.#fillFromVideo(latency ?? null);
  }

  /** Without a connection: what the video element knows, and the capture time in the playlist. */
  #fillFromVideo(latency: number | null): void {
    const { videoWidth, videoHeight, buffered, currentTime } = this.#video;
    const end = buffered.length > 0 ? buffered.end(buffered.length - 1) : null;
    const values: Partial<Record<Row, string>> = {
      latency: latency === null ? NONE : `${formatMilliseconds(latency * 1000)} (${strings.comparesClocks})`,
      resolution: formatResolution(videoWidth || null, videoHeight || null),
      buffer: formatMilliseconds(end === null ? null : (end - currentTime) * 1000),
      dropped: formatCount(this.#video.getVideoPlaybackQuality().droppedVideoFrames),
      transport: latency === null ? NONE : 'HLS',
    };
    for (const [row, cell] of this.#cells) cell.textContent = values[row] ?? NONE;
  }

  #fill(stats: ViewStats, peer: RTCPeerConnection): void {
    const latency = this.#probe?.read(peer) ?? null;
    const values: Record<Row, string> = {
      latency: latency
        ? formatMilliseconds(latency.value) + (latency.comparesClocks ? ` (${strings.comparesClocks})` : '')
        : NONE,
      resolution: formatResolution(stats.width, stats.height),
      fps: formatFps(stats.fps),
      video: join(stats.videoCodec, stats.videoBitrate),
      audio: join(stats.audioCodec, stats.audioBitrate),
      loss: formatRatio(stats.loss),
      jitter: formatMilliseconds(stats.jitter),
      rtt: formatMilliseconds(stats.rtt),
      buffer: formatMilliseconds(stats.buffer),
      dropped: formatCount(stats.framesDropped),
      freezes: formatCount(stats.freezes),
      transport: stats.protocol?.toUpperCase() ?? NONE,
    };
    for (const [row, cell] of this.#cells) cell.textContent = values[row];
  }
}

function join(codec: string | null, bitrate: number | null): string {
  if (codec === null) return NONE;
  return bitrate === null ? codec : `${codec} · ${formatBitrate(bitrate)}`;
}
