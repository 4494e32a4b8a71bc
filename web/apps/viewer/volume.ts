/** Sound of the player: remembers loudness in this browser, never whether it was muted. */
const KEY = 'stagecast.volume';

export class Volume {
  readonly #video: HTMLVideoElement;

  constructor(video: HTMLVideoElement, muted: boolean) {
    this.#video = video;
    video.volume = remembered();
    video.muted = muted;
  }

  get muted(): boolean {
    return this.#video.muted || this.#video.volume === 0;
  }

  /** 0–1, whatever is muted. */
  get level(): number {
    return this.#video.volume;
  }

  set(level: number): void {
    const clamped = Math.min(1, Math.max(0, level));
    this.#video.volume = clamped;
    this.#video.muted = clamped === 0;
    try {
      if (clamped > 0) localStorage.setItem(KEY, clamped.toFixed(2));
    } catch {
      // An embedded page without storage forgets the loudness; nothing else is lost.
    }
  }

  toggle(): void {
    if (this.muted) {
      if (this.#video.volume === 0) this.#video.volume = 0.5;
      this.#video.muted = false;
    } else {
      this.#video.muted = true;
    }
  }
}

function remembered(): number {
  try {
    const value = Number(localStorage.getItem(KEY) ?? 1);
    return value > 0 && value <= 1 ? value : 1;
  } catch {
    return 1;
  }
}
