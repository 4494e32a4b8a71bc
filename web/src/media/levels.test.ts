import { expect, test } from 'vitest';
import { levelOf, levelQualities } from './levels';

const level = (name: string, height: number, kbps: number, audioCodec = 'mp4a.40.2') => ({
  uri: `http://h:8081/a/s/${name}/live.m3u8?_session=${kbps}`,
  height,
  averageBitrate: kbps * 1000,
  audioCodec,
});
const ladder = [
  level('low', 360, 600),
  level('high', 720, 2600),
  level('low', 360, 580, 'opus'),
  level('high', 720, 2580, 'opus'),
];

test('a picture with several kinds of sound is one quality, best first', () => {
  const list = levelQualities(ladder);
  expect(list.map(({ label, bitrate }) => [label, bitrate])).toEqual([
    ['720p', 2_600_000],
    ['360p', 600_000],
  ]);
});

test('a chosen quality keeps the sound that plays, if it has it', () => {
  const id = levelQualities(ladder)[1]?.selection.encodingId ?? '';
  expect(levelOf(ladder, id, 'opus')).toBe(2);
  expect(levelOf(ladder, id, 'ac-3')).toBe(0);
  expect(levelOf(ladder, '/a/s/gone/live.m3u8', 'opus')).toBe(-1);
});

test('a quality is found again after the address got another query', () => {
  const id = levelQualities(ladder)[0]?.selection.encodingId ?? '';
  expect(levelOf([level('low', 360, 7), level('high', 720, 8)], id, undefined)).toBe(1);
});

test('two pictures of one height have names of their own', () => {
  const list = levelQualities([level('front', 720, 900), level('back', 720, 800)]);
  expect(list.map(({ label }) => label)).toEqual(['720p', '720p (2)']);
});

test('without heights they have names', () => {
  expect(levelQualities([level('a', 0, 1), level('b', 0, 9)]).map(({ label }) => label)).toEqual([
    'High',
    'Low',
  ]);
});

test('one picture leaves nothing to choose', () => {
  expect(levelQualities([level('a', 720, 9), level('a', 720, 8, 'opus')])).toEqual([]);
  expect(levelQualities([])).toEqual([]);
});
