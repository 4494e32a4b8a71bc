import { describe, expect, it } from 'vitest';
import { dayPoints } from './days';

const now = Date.parse('2026-11-21T13:30:00Z');
const day = (date: string, sent: number, watched: number) => ({
  date: `${date}T00:00:00.000Z`,
  count: 1,
  total_ingest_seconds: sent,
  total_viewer_seconds: watched,
});

describe('dayPoints', () => {
  it('gives every day of the span a point, the newest last', () => {
    const points = dayPoints([day('2026-11-19', 60, 90), day('2026-11-21', 5, 0)], 4, now);
    expect(points.times.map((time) => new Date(time * 1000).toISOString().slice(0, 10))).toEqual([
      '2026-11-18',
      '2026-11-19',
      '2026-11-20',
      '2026-11-21',
    ]);
    expect(points.sent).toEqual([0, 60, 0, 5]);
    expect(points.watched).toEqual([0, 90, 0, 0]);
  });

  it('is empty when nothing ever was', () => {
    expect(dayPoints([], 30, now).times).toEqual([]);
  });
});
