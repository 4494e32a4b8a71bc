/**
 * Something loaded from the server: the newest request wins, what was shown stays while it is loaded
 * again, and a failure keeps the old data beside the error.
 */
import { ApiError, messageOf } from '$api/errors';

export class Resource<T> {
  data = $state.raw<T | undefined>();
  error = $state.raw<unknown>(null);
  loading = $state(true);
  #run = 0;

  async load(fetch: () => Promise<T>): Promise<void> {
    const run = ++this.#run;
    this.loading = true;
    try {
      const data = await fetch();
      if (run !== this.#run) return;
      this.data = data;
      this.error = null;
    } catch (error) {
      if (run === this.#run) this.error = error;
    } finally {
      if (run === this.#run) this.loading = false;
    }
  }

  /** Forgets what is shown, for a page that turns to another subject. */
  clear(): void {
    this.#run += 1;
    this.data = undefined;
    this.error = null;
    this.loading = true;
  }

  /** The server says that there is no such thing. */
  get missing(): boolean {
    return this.error instanceof ApiError && [400, 404].includes(this.error.status);
  }

  get message(): string | null {
    return this.error === null ? null : messageOf(this.error);
  }
}
