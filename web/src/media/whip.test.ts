import { expect, test } from 'vitest';
import { unwantedOf } from './whip';

const told = (wanted: unknown, unwanted: unknown) => ({ medias: { '1': { wanted, unwanted } } });

test('the encodings that nobody needs are read', () => {
  expect(unwantedOf(told(['q', 'h'], ['f']))).toEqual(['f']);
  expect(unwantedOf(told(['q', 'h', 'f'], []))).toEqual([]);
});

test('what cannot be understood leaves nothing out, and never is everything left out', () => {
  expect(unwantedOf({})).toEqual([]);
  expect(unwantedOf({ medias: {} })).toEqual([]);
  expect(unwantedOf(told(undefined, ['f']))).toEqual([]);
  expect(unwantedOf(told([], ['q', 'h', 'f']))).toEqual([]);
  expect(unwantedOf(told(['q'], [1, 'f']))).toEqual(['f']);
});
