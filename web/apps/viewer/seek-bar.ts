/** Where in the past one is, and the way back to live; shown when there is a past to seek in. */
import type { SeekRange } from '$media/hls';
import { el } from './dom';
import { strings } from './strings';

/** Nearer than this is live. */
const LIVE_SECONDS = 5;
export const KEY_SECONDS = 5;

export class SeekBar {
  readonly element: HTMLElement;
  readonly #slider = el('input', {
    type: 'range',
    min: '0',
    max: '1',
    step: '0.1',
    'aria-label': strings.seek,
    'data-testid': 'seek',
  });
  readonly #behind = el('span', { class: 'behind' });
  readonly #live = el(
    'button',
    { type: 'button', class: 'go-live', 'data-testid': 'go-live' },
    strings.goLive,
  );
  readonly #video: HTMLVideoElement;
  readonly #range: () => SeekRange | null;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(video: HTMLVideoElement, range: () => SeekRange | null) {
    this.#video = video;
    this.#range = range;
    this.element = el('div', { class: 'gap seek' }, this.#slider, this.#behind, this.#live);
    this.#slider.addEventListener('input', () => {
      video.currentTime = Number(this.#slider.value);
      this.#render();
    });
    // A key moves by what a person means, not by the slider's tenth of a second.
    this.#slider.addEventListener('keydown', (event) => {
      const seconds = { ArrowLeft: -KEY_SECONDS, ArrowRight: KEY_SECONDS }[event.key];
      if (seconds === undefined) return;
      event.preventDefault();
      this.by(seconds);
    });
    this.#live.addEventListener('click', () => {
      const now = this.#range();
      if (now) video.currentTime = now.live;
      void video.play().catch(() => undefined);
      this.#render();
    });
    this.#timer = setInterval(() => this.#render(), 500);
    this.#render();
  }

  get shown(): boolean {
    return !this.#slider.hidden;
  }

  /** Seek by so many seconds, within what there is. */
  by(seconds: number): void {
    const range = this.#range();
    if (!range) return;
    const wanted = this.#video.currentTime + seconds;
    this.#video.currentTime = Math.min(range.live, Math.max(range.start, wanted));
    this.#render();
  }

  destroy(): void {
    clearInterval(this.#timer);
  }

  #render(): void {
    const range = this.#range();
    const behind = range ? range.live - this.#video.currentTime : 0;
    this.#slider.hidden = !range;
    this.#behind.hidden = this.#live.hidden = !range || behind < LIVE_SECONDS;
    if (!range) return;
    this.#slider.min = String(range.start);
    this.#slider.max = String(range.live);
    this.#slider.value = String(this.#video.currentTime);
    const level = (this.#video.currentTime - range.start) / (range.live - range.start);
    this.#slider.style.setProperty('--level', String(Math.min(1, Math.max(0, level))));
    this.#behind.textContent = strings.behind(behind);
    this.#slider.setAttribute(
      'aria-valuetext',
      behind < LIVE_SECONDS ? strings.live : strings.behind(behind),
    );
  }
}
