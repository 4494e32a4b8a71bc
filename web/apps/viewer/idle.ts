/**
 * Shows the controls on pointer, touch or key and hides them after three quiet seconds, but never
 * while the pointer rests on them, the keyboard is inside, or `held` says so.
 */
const IDLE_MS = 3_000;

export class IdleChrome {
  readonly #root: HTMLElement;
  readonly #held: () => boolean;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `root` gets the class `idle`; `bars` are the parts that keep the chrome when pointed at. */
  constructor(root: HTMLElement, bars: HTMLElement[], held: () => boolean) {
    this.#root = root;
    this.#held = () =>
      held() || bars.some((bar) => bar.matches(':hover') || bar.matches(':has(:focus-visible)'));
    root.addEventListener('pointermove', ({ pointerType }) => {
      if (pointerType === 'mouse') this.wake();
    });
    root.addEventListener('pointerleave', () => this.#sleep());
    root.addEventListener('focusin', () => this.wake());
    this.#root.classList.add('idle');
  }

  get awake(): boolean {
    return !this.#root.classList.contains('idle');
  }

  wake(): void {
    this.#root.classList.remove('idle');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#sleep(), IDLE_MS);
  }

  /** A tap shows what is hidden and hides what is shown. */
  toggle(): void {
    if (this.awake) this.#root.classList.add('idle');
    else this.wake();
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    if (this.#held()) this.#timer = setTimeout(() => this.#sleep(), IDLE_MS);
    else this.#root.classList.add('idle');
  }
}
