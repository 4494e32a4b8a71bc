import { describe, expect, it } from 'vitest';
import { decibels, meterPosition } from './level-meter';

describe('levels', () => {
  it('measures silence, full scale and the meter between', () => {
    expect(decibels(new Float32Array(64))).toBe(-100);
    expect(decibels(new Float32Array(64).fill(1))).toBe(0);
    expect(meterPosition(-30)).toBe(0.5);
    expect(meterPosition(-100)).toBe(0);
  });
});
