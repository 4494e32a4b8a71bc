import { describe, expect, test } from 'vitest';
import {
  formatAgo,
  formatBitrate,
  formatCount,
  formatDuration,
  formatMilliseconds,
  formatRatio,
  formatResolution,
  formatTimecode,
  toDate,
} from './format';

describe('units', () => {
  test.each([
    [0, '0 bit/s'],
    [999, '999 bit/s'],
    [64_000, '64 kbit/s'],
    [999_400, '999 kbit/s'],
    [2_412_000, '2.41 Mbit/s'],
    [12_500_000, '12.5 Mbit/s'],
    [1_200_000_000, '1.2 Gbit/s'],
    [null, '–'],
    [Number.NaN, '–'],
  ])('bitrate %s is %s', (bps, text) => expect(formatBitrate(bps)).toBe(text));

  test.each([
    [0, '0 %'],
    [0.00001, '< 0.01 %'],
    [0.0123, '1.23 %'],
    [1, '100 %'],
    [undefined, '–'],
  ])('ratio %s is %s', (ratio, text) => expect(formatRatio(ratio)).toBe(text));

  test('counts have thousands separators', () => expect(formatCount(12_345)).toBe('12,345'));
  test('short times keep a decimal', () => expect(formatMilliseconds(0.42)).toBe('0.42 ms'));
  test('a picture without a size is a dash', () => expect(formatResolution(0, 0)).toBe('–'));
});

describe('time', () => {
  test.each([
    [0, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [185, '3 min 5 s'],
    [4320, '1 h 12 min'],
    [187_200, '2 d 4 h'],
    [-5, '0 s'],
  ])('%s seconds last %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  test.each([
    [7, '0:07'],
    [765, '12:45'],
    [3753, '1:02:33'],
  ])('%s seconds on the clock are %s', (seconds, text) => expect(formatTimecode(seconds)).toBe(text));

  test('a time without a zone is UTC', () => {
    expect(toDate('2026-11-21T07:00:00')?.toISOString()).toBe('2026-11-21T07:00:00.000Z');
    expect(toDate('2026-11-21T07:00:00+02:00')?.toISOString()).toBe('2026-11-21T05:00:00.000Z');
    expect(toDate('nonsense')).toBeNull();
  });

  const now = Date.UTC(2026, 10, 21, 7, 0, 0);
  test.each([
    [now - 10_000, 'just now'],
    [now - 60_000, '1 min ago'],
    [now - 3 * 3_600_000, '3 h ago'],
    [now - 86_400_000, '1 day ago'],
    [now + 3 * 86_400_000, 'in 3 days'],
    [now - 400 * 86_400_000, '1 year ago'],
  ])('%s is %s', (when, text) => expect(formatAgo(when, now)).toBe(text));
});
