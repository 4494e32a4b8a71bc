/** Puts what went wrong into words: what happened, why probably, what to do; the browser's own last. */
import { SignallingError } from '$media/signalling';
import type { WhipState } from '$media/whip';
import type { InputProblem } from './inputs.svelte';
import { resolutionFor } from './presets';
import { strings } from './strings';

export interface Problem {
  title: string;
  text: string;
  detail: string;
}

export function inputProblem({ error, unplugged, actualHeight }: InputProblem, wanted: string): Problem {
  const { problems } = strings;
  const { kind, device, detail } = error;
  if (unplugged) return { ...problems.unplugged[device], detail };
  switch (kind) {
    case 'insecure':
      return { ...problems.insecure, detail };
    case 'overconstrained': {
      const { title, text } = problems.overconstrained;
      const actual = `${resolutionFor(actualHeight ?? 0)}p`;
      const constraint = error.constraint ? `${detail} (${error.constraint})` : detail;
      return { title: title(wanted), text: text(actual), detail: constraint };
    }
    case 'denied':
    case 'missing':
    case 'busy':
      return { ...problems[kind][device], detail };
    default:
      return { ...problems.unknown, detail };
  }
}

export function broadcastProblem(ending: Extract<WhipState, { name: 'ended' }>['ending']): Problem {
  const { broadcast } = strings.problems;
  if (ending === 'unreachable') return { ...broadcast.unreachable, detail: 'ICE did not connect in 12 s.' };
  if (ending === 'replaced' || ending === 'closed' || ending === 'network')
    return { ...broadcast.replaced, detail: 'The server closed the session.' };
  if (!(ending instanceof SignallingError)) return { ...broadcast.other, detail: ending.message };
  const byStatus: Record<number, { title: string; text: string }> = {
    401: broadcast.refused,
    403: broadcast.refused,
    404: broadcast.refused,
    406: broadcast.codec,
    503: broadcast.busy,
  };
  return { ...(byStatus[ending.status] ?? broadcast.other), detail: ending.message };
}
