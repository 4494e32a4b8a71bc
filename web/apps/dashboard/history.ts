/** The last five minutes of one stream's figures, as columns for the charts. */

export interface Point {
  /** Unix seconds. */
  at: number;
  bitrateBps: number | null;
  viewerCount: number | null;
  fps: number | null;
  packetLoss: number | null;
  rttMs: number | null;
}

const SECONDS = 300;
/** Figures come once a second; after a longer silence the line is broken instead of drawn through. */
const GAP = 5;

function nothing(at: number): Point {
  return { at, bitrateBps: null, viewerCount: null, fps: null, packetLoss: null, rttMs: null };
}

export class History {
  readonly points: Point[] = [];

  /** Adds a point; one that is not newer than the last is dropped, so that times only ascend. */
  add(point: Point): void {
    const last = this.points.at(-1);
    if (last && point.at <= last.at) return;
    if (last && point.at - last.at > GAP) this.points.push(nothing(last.at + 1));
    this.points.push(point);
    const oldest = point.at - SECONDS;
    while (this.points[0] && this.points[0].at < oldest) this.points.shift();
  }

  /** Puts older points in front: what the server remembered from before this page was opened. */
  prepend(older: Point[]): void {
    const first = this.points[0]?.at ?? Number.POSITIVE_INFINITY;
    const fitting = older.filter((point) => point.at < first).sort((a, b) => a.at - b.at);
    this.points.unshift(...fitting.filter((point, index) => point.at !== fitting[index - 1]?.at));
  }

  times(): number[] {
    return this.points.map((point) => point.at);
  }

  column(name: Exclude<keyof Point, 'at'>): (number | null)[] {
    return this.points.map((point) => point[name]);
  }
}
