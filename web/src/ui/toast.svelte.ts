/**
 * Short messages at the edge of the window that say what was done or what went wrong.
 * `toast.ok('Token deleted')`. An action (undo) keeps the message longer; errors stay until dismissed
 * or 10 s. At most four are shown.
 */
export type ToastKind = 'ok' | 'error' | 'info';

export interface ToastAction {
  label: string;
  run: () => void;
}

export interface Toast {
  id: number;
  kind: ToastKind;
  text: string;
  detail?: string;
  action?: ToastAction;
}

const MAX_SHOWN = 4;

class Toasts {
  list: Toast[] = $state([]);
  #next = 1;
  #timers = new Map<number, ReturnType<typeof setTimeout>>();

  #add(kind: ToastKind, text: string, options: { detail?: string; action?: ToastAction } = {}): void {
    const toast: Toast = { id: this.#next++, kind, text, ...options };
    this.list = [...this.list, toast];
    for (const old of this.list.slice(0, -MAX_SHOWN)) this.dismiss(old.id);
    this.resume(toast.id);
  }

  ok(text: string, options?: { detail?: string; action?: ToastAction }): void {
    this.#add('ok', text, options);
  }

  info(text: string, options?: { detail?: string; action?: ToastAction }): void {
    this.#add('info', text, options);
  }

  error(text: string, options?: { detail?: string; action?: ToastAction }): void {
    this.#add('error', text, options);
  }

  dismiss(id: number): void {
    this.pause(id);
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  /** A toast under the pointer or with focus stays. */
  pause(id: number): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  resume(id: number): void {
    const toast = this.list.find((one) => one.id === id);
    if (!toast) return;
    this.pause(id);
    const after = toast.kind === 'error' || toast.action ? 10_000 : 4_500;
    this.#timers.set(
      id,
      setTimeout(() => this.dismiss(id), after),
    );
  }
}

export const toast = new Toasts();
