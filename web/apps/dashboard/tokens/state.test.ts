import { describe, expect, test } from 'vitest';
import { allows, soleStream, streamLabel, tokenState } from './state';

describe('tokenState', () => {
  const now = Date.UTC(2026, 10, 21);
  test('disabled wins over expired', () => {
    expect(tokenState({ isActive: false, expiresOn: '2020-01-01T00:00:00Z' }, now)).toBe('disabled');
  });
  test('a past expiry is expired, a future one and none are active', () => {
    expect(tokenState({ isActive: true, expiresOn: '2020-01-01T00:00:00Z' }, now)).toBe('expired');
    expect(tokenState({ isActive: true, expiresOn: '2030-01-01T00:00:00Z' }, now)).toBe('active');
    expect(tokenState({ isActive: true, expiresOn: null }, now)).toBe('active');
  });
});

describe('stream rules', () => {
  test('any has words, a pattern shows itself', () => {
    expect(streamLabel({ streamName: '.*', isRegex: true })).toBe('Any stream name');
    expect(streamLabel({ streamName: '.*', isRegex: false })).toBe('.*');
  });
  test('only a single plain name needs no choice', () => {
    expect(soleStream([{ streamName: 'a', isRegex: false }])).toBe('a');
    expect(soleStream([{ streamName: 'a', isRegex: true }])).toBeNull();
    expect(soleStream([])).toBeNull();
  });
  test('a pattern must match the whole name', () => {
    const rule = { streamName: 'room-[0-9]+|hall', isRegex: true };
    expect(allows(rule, 'room-12')).toBe(true);
    expect(allows(rule, 'hallway')).toBe(false);
    expect(allows({ streamName: '(?P<n>x)', isRegex: true }, 'anything')).toBe(true);
  });
});
