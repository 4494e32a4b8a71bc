import { expect, it } from 'vitest';
import { affordable, defaultBitrate, resolutionFor, simulcastLayers, smaller } from './presets';

it('gives more bits to more frames and fewer to newer codecs', () => {
  expect(defaultBitrate('720', 30, 'vp8')).toBe(2_500_000);
  expect(defaultBitrate('720', 60, 'vp8')).toBe(3_750_000);
  expect(defaultBitrate('720', 30, 'av1')).toBe(1_750_000);
});

it('finds the listed resolution that a picture fills', () => {
  expect(resolutionFor(1080)).toBe('1080');
  expect(resolutionFor(600)).toBe('480');
  expect(resolutionFor(0)).toBe('360');
});

it('finds what a network affords', () => {
  expect(affordable(100_000_000, 30, 'vp8')).toBe('2160');
  expect(affordable(1_000_000, 30, 'vp8')).toBe('480');
  expect(affordable(1, 30, 'vp8')).toBe('360');
});

it('ends at the smallest resolution', () => {
  expect(smaller('720')).toBe('480');
  expect(smaller('360')).toBeNull();
});

it('sends three sizes of a large picture, of codecs that every browser sends so', () => {
  expect(simulcastLayers('720', 'vp8')).toBe(3);
  expect(simulcastLayers('1080', 'h264')).toBe(3);
  expect(simulcastLayers('480', 'vp8')).toBe(1);
  expect(simulcastLayers('720', 'av1')).toBe(1);
});
