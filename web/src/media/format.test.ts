import { expect, it } from 'vitest';
import {
  formatBitrate,
  formatBytes,
  formatCount,
  formatMilliseconds,
  formatShare,
  formatTimecode,
} from './format';

it('writes bit rates', () => {
  expect(formatBitrate(0)).toBe('0 kbit/s');
  expect(formatBitrate(640_400)).toBe('640 kbit/s');
  expect(formatBitrate(999_600)).toBe('1 Mbit/s');
  expect(formatBitrate(2_449_000)).toBe('2.4 Mbit/s');
});

it('writes bytes in decimal units', () => {
  expect(formatBytes(0)).toBe('0 B');
  expect(formatBytes(1_234)).toBe('1.2 kB');
  expect(formatBytes(5_000_000_000)).toBe('5 GB');
});

it('writes timecodes beyond a day', () => {
  expect(formatTimecode(-5)).toBe('00:00:00');
  expect(formatTimecode(249_900)).toBe('00:04:09');
  expect(formatTimecode(100 * 3_600_000)).toBe('100:00:00');
});

it('writes shares, times and counts', () => {
  expect(formatShare(0.0042)).toBe('0.4 %');
  expect(formatMilliseconds(182.4)).toBe('182 ms');
  expect(formatMilliseconds(12_400)).toBe('12.4 s');
  expect(formatCount(1204)).toBe('1,204');
});
