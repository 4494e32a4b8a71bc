/**
 * What is live, kept up to date by the server's event stream (/api/events). Pages read the maps; nothing
 * polls. After a lost connection it retries with growing pauses and starts from a fresh snapshot.
 */
import { SvelteMap } from 'svelte/reactivity';
import type { FiguresEvent, HelloEvent, LiveFigures, LiveStream, TokenEvent } from '$api';
import { toDate } from '$ui/format';
import { History } from './history';
import { changes, type LogEntry, mergeLogs } from './monitoring/log';

const MAX_ENDED = 500;
const MAX_LOG = 200;
const RETRY_FIRST = 1_000;
const RETRY_MAX = 15_000;
/** A page in the background for this long lets its connection go: browsers allow six to a server. */
const HIDDEN = 20_000;
/** A blip shorter than this is not worth a word. */
const QUIET = 1_500;

/** Live streams and their viewers by the token that publishes them. */
export function byToken(streams: Iterable<LiveStream>): Map<number, LiveStream[]> {
  const tokens = new Map<number, LiveStream[]>();
  for (const stream of streams) {
    if (!stream.live) continue;
    const ids = new Set(stream.feeds.filter((feed) => feed.active).map((feed) => feed.tokenId));
    for (const id of ids) if (id !== null) tokens.set(id, [...(tokens.get(id) ?? []), stream]);
  }
  return tokens;
}

class Live {
  streams = new SvelteMap<string, LiveStream>();
  figures = new SvelteMap<string, LiveFigures>();
  /** True once the connection has been gone for a while. */
  lost = $state(false);
  /** True after the first snapshot has come. */
  ready = $state(false);
  /** The server restarted with another version than this page came from. */
  outdated = $state(false);
  byToken = $derived(byToken(this.streams.values()));
  liveCount = $derived([...this.streams.values()].filter((stream) => stream.live).length);

  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #pause = RETRY_FIRST;
  #version: string | null = null;
  #histories = new Map<string, History>();
  #logs = new SvelteMap<string, LogEntry[]>();
  #listeners = new Set<(change: TokenEvent) => void>();

  start(): void {
    if (this.#source || this.#retry) return;
    document.addEventListener('visibilitychange', this.#onVisibility);
    addEventListener('pagehide', this.#onPageHide);
    addEventListener('pageshow', this.#onVisibility);
    this.#open();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#onVisibility);
    removeEventListener('pagehide', this.#onPageHide);
    removeEventListener('pageshow', this.#onVisibility);
    clearTimeout(this.#hidden);
    this.#close();
    this.streams.clear();
    this.figures.clear();
    this.#histories.clear();
    this.#logs.clear();
    this.lost = false;
    this.ready = false;
  }

  retryNow(): void {
    this.#close();
    this.#open();
  }

  history(streamId: string): History {
    let history = this.#histories.get(streamId);
    if (!history) {
      history = new History();
      this.#histories.set(streamId, history);
    }
    return history;
  }

  log(streamId: string): LogEntry[] {
    return this.#logs.get(streamId) ?? [];
  }

  /** Calls back when a token was made, changed or deleted, by anyone. Returns how to stop. */
  onToken(listener: (change: TokenEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #onVisibility = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN);
    else if (!this.#source && !this.#retry) this.#open();
  };

  // A page kept for the Back button would keep its connection too.
  #onPageHide = (): void => this.#close();

  #open(): void {
    const source = new EventSource('/api/events');
    this.#source = source;
    const on = (name: string, take: (data: never) => void) =>
      source.addEventListener(name, (event) => {
        try {
          take(JSON.parse((event as MessageEvent<string>).data) as never);
        } catch (error) {
          console.warn(`An event of the server could not be read: ${name}`, error);
        }
      });
    on('hello', (hello: HelloEvent) => this.#hello(hello));
    on('stream', (stream: LiveStream) => this.#stream(stream));
    on('figures', (figures: FiguresEvent) => this.#figures(figures));
    on('token', (change: TokenEvent) => {
      for (const listener of this.#listeners) listener(change);
    });
    source.onerror = () => {
      // The browser's own retry gives up on an HTTP error, so every retry is ours.
      source.close();
      if (this.#source !== source) return;
      this.#source = null;
      this.#quiet ??= setTimeout(() => {
        this.lost = true;
      }, QUIET);
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#open();
      }, this.#pause);
      this.#pause = Math.min(this.#pause * 2, RETRY_MAX);
    };
  }

  #close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#quiet);
    this.#retry = undefined;
    this.#quiet = undefined;
    this.#source?.close();
    this.#source = null;
  }

  #hello(hello: HelloEvent): void {
    clearTimeout(this.#quiet);
    this.#quiet = undefined;
    this.#pause = RETRY_FIRST;
    this.lost = false;
    this.ready = true;
    this.outdated = this.#version !== null && this.#version !== hello.version;
    this.#version ??= hello.version;
    // What ended while we were away is not told again: the snapshot after this names what is live.
    const endTime = new Date().toISOString();
    for (const [id, stream] of this.streams) {
      if (stream.live) this.streams.set(id, { ...stream, live: false, viewerCount: 0, endTime });
    }
    this.figures.clear();
  }

  #stream(stream: LiveStream): void {
    const news = changes(this.streams.get(stream.streamId), stream);
    this.streams.set(stream.streamId, stream);
    if (news.length) {
      this.#logs.set(stream.streamId, mergeLogs(news, this.log(stream.streamId)).slice(0, MAX_LOG));
    }
    if (!stream.live) {
      this.figures.delete(stream.streamId);
      this.#forgetEnded();
    }
  }

  #figures({ at, streams }: FiguresEvent): void {
    const seconds = Math.round((toDate(at)?.getTime() ?? Date.now()) / 1000);
    for (const figures of streams) {
      this.history(figures.streamId).add({
        at: seconds,
        bitrateBps: figures.bitrateBps,
        viewerCount: figures.viewerCount,
        fps: figures.fps,
        packetLoss: figures.packetLoss,
        rttMs: figures.rttMs,
      });
      this.figures.set(figures.streamId, figures);
      const stream = this.streams.get(figures.streamId);
      if (stream && stream.viewerCount !== figures.viewerCount) {
        this.streams.set(figures.streamId, { ...stream, viewerCount: figures.viewerCount });
      }
    }
  }

  #forgetEnded(): void {
    const ended = [...this.streams.values()].filter((stream) => !stream.live);
    for (const stream of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) {
      this.streams.delete(stream.streamId);
      this.#histories.delete(stream.streamId);
      this.#logs.delete(stream.streamId);
    }
  }
}

export const live = new Live();
