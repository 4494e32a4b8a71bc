/**
 * How long to wait before the next attempt: doubles from `base` to `max`, half of it random so that
 * the viewers of a restarted server do not come back in one wave.
 */
export interface BackoffOptions {
  /** First delay, ms. */
  base?: number;
  /** Longest delay, ms. */
  max?: number;
  /** 0 ≤ x < 1; replaced in tests. */
  random?: () => number;
}

export class Backoff {
  readonly #base: number;
  readonly #max: number;
  readonly #random: () => number;
  #attempt = 0;

  constructor({ base = 500, max = 15_000, random = Math.random }: BackoffOptions = {}) {
    this.#base = base;
    this.#max = max;
    this.#random = random;
  }

  /** Attempts since the last `reset`. */
  get attempt(): number {
    return this.#attempt;
  }

  /** Delay before the next attempt in ms: between half and all of the current step. */
  next(): number {
    const step = Math.min(this.#max, this.#base * 2 ** Math.min(this.#attempt, 20));
    this.#attempt += 1;
    return Math.round(step / 2 + (step / 2) * this.#random());
  }

  reset(): void {
    this.#attempt = 0;
  }
}

/**
 * Resolves after `ms`, and earlier when the browser comes back online. Rejects with the signal's
 * reason when it is aborted.
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const finish = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.('online', finish);
      signal?.removeEventListener('abort', cancel);
      resolve();
    };
    const cancel = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.('online', finish);
      reject(signal?.reason);
    };
    const timer = setTimeout(finish, ms);
    globalThis.addEventListener?.('online', finish);
    signal?.addEventListener('abort', cancel, { once: true });
  });
}
