import { expect, test } from 'vitest';
import { qualities, qualityNamed } from './layers';

const event = (...layers: object[]) => ({ medias: { '0': { active: [], inactive: [], layers } } });
const entry = (encodingId: string, height: number | null, extra: object = {}) => ({
  encodingId,
  spatialLayerId: 255,
  temporalLayerId: 255,
  bitrate: (height ?? 1) * 1000,
  height,
  ...extra,
});

test('simulcast encodings are qualities by height, best first', () => {
  const list = qualities(event(entry('q', 180), entry('f', 720), entry('h', 360)));
  expect(list.map(({ label }) => label)).toEqual(['720p', '360p', '180p']);
  expect(list[1]?.selection).toEqual({ encodingId: 'h' });
});

test('temporal layers of a picture are one quality', () => {
  const list = qualities(
    event(entry('f', 720, { temporalLayerId: 1 }), entry('f', 720, { temporalLayerId: 0 }), entry('h', 360)),
  );
  expect(list.map(({ label }) => label)).toEqual(['720p', '360p']);
});

test('spatial layers of one encoding are qualities', () => {
  const list = qualities(event(entry('', 720, { spatialLayerId: 1 }), entry('', 360, { spatialLayerId: 0 })));
  expect(list.map(({ selection }) => selection.spatialLayerId)).toEqual([1, 0]);
});

test('without heights they have names', () => {
  const list = qualities(event(entry('a', null, { bitrate: 9 }), entry('b', null, { bitrate: 5 })));
  expect(list.map(({ label }) => label)).toEqual(['High', 'Low']);
});

test('one layer, or nonsense, leaves nothing to choose', () => {
  for (const data of [event(entry('f', 720)), {}, null, 'x', event({ encodingId: 7 }), { medias: [3] }])
    expect(qualities(data)).toEqual([]);
});

test('a quality is found by name and by height', () => {
  const list = qualities(event(entry('q', 180), entry('f', 720), entry('h', 360)));
  const named = (wanted: string) => qualityNamed(list, wanted)?.label;
  expect([named('High'), named('medium'), named('Low')]).toEqual(['720p', '360p', '180p']);
  expect([named('480'), named('360p'), named('90')]).toEqual(['360p', '360p', '180p']);
  expect(named('best')).toBeUndefined();
});
