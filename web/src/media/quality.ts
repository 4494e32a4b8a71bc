/** How good a connection is, in the four steps that a person reads as bars. */
export type Quality = 0 | 1 | 2 | 3 | 4;

export interface QualityInput {
  /** ms */
  rtt: number | null;
  /** 0–1 */
  loss: number | null;
  /** Whether the network forces a smaller picture than asked for. */
  starved: boolean;
}

/** 0 says that nothing is known yet. */
export function connectionQuality({ rtt, loss, starved }: QualityInput): Quality {
  if (rtt === null && loss === null) return 0;
  const byLoss = step(loss ?? 0, [0.01, 0.03, 0.08]);
  const byRtt = step(rtt ?? 0, [150, 300, 600]);
  const worst = Math.min(byLoss, byRtt);
  return (starved ? Math.min(worst, 2) : worst) as Quality;
}

function step(value: number, limits: [number, number, number]): number {
  return 4 - limits.filter((limit) => value > limit).length;
}
