/**
 * Keeps one connection up for as long as the caller wants it: opens, waits until it is lost, waits a
 * little, opens again. WHIP and WHEP differ only in what they say about each step.
 */
import { Backoff, pause } from './backoff';
import type { Connection, LostReason } from './connection';
import { SignallingError } from './signalling';

export interface Keeper {
  open: () => Promise<Connection>;
  /** The answer is applied; media is about to flow. */
  opened: (connection: Connection) => void;
  connected: () => void;
  /** Media stopped; `delay` ms until the next attempt (0 while ICE restarts). */
  waiting: (cause: LostReason | SignallingError | 'restart', delay: number) => void;
  /** Whether to come back after this; a throw counts as yes. */
  resume: (cause: LostReason | SignallingError, connection: Connection | null) => Promise<boolean>;
  signal: AbortSignal;
}

/** How an effort ended: stopped by the caller, or by something that coming back does not heal. */
export type Ending = 'stopped' | LostReason | SignallingError;

const STEADY_MS = 10_000;

/** Runs until the signal is aborted or `resume` says no. Errors of the browser itself are thrown. */
export async function keepConnected(keeper: Keeper): Promise<Ending> {
  const { signal } = keeper;
  const backoff = new Backoff();
  while (!signal.aborted) {
    let cause: LostReason | SignallingError;
    let connection: Connection | null = null;
    try {
      connection = await keeper.open();
      keeper.opened(connection);
      const since = performance.now();
      cause = await untilLost(connection, keeper);
      if (connection.connectedOnce && performance.now() - since > STEADY_MS) backoff.reset();
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof SignallingError)) throw error;
      cause = error;
    }
    if (signal.aborted) break;
    if (!(await keeper.resume(cause, connection).catch(() => true))) return cause;
    const asked = cause instanceof SignallingError ? cause.retryAfter : null;
    const delay = asked ?? backoff.next();
    keeper.waiting(cause, delay);
    await pause(delay, signal).catch(() => undefined);
  }
  return 'stopped';
}

function untilLost(connection: Connection, keeper: Keeper): Promise<LostReason> {
  return new Promise((resolve) => {
    const off = [
      connection.on('connected', () => keeper.connected()),
      connection.on('faltering', () => keeper.waiting('restart', 0)),
      connection.on('lost', (reason) => finish(reason)),
    ];
    const abort = () => {
      void connection.close();
      finish('closed');
    };
    const finish = (reason: LostReason) => {
      for (const end of off) end();
      keeper.signal.removeEventListener('abort', abort);
      resolve(reason);
    };
    if (keeper.signal.aborted) abort();
    else keeper.signal.addEventListener('abort', abort, { once: true });
  });
}
