import { describe, expect, it } from 'vitest';
import { allows, allowsAny, plainNames, streamNameFor } from './stream-name';

const any = [{ streamName: '.*', isRegex: true }];
const one = [{ streamName: 'demo', isRegex: false }];
const two = [...one, { streamName: 'other', isRegex: false }];

describe('streamNameFor', () => {
  it('takes the one name of the token', () => {
    expect(streamNameFor(one, null)).toBe('demo');
  });

  it('asks when there are several, or any', () => {
    expect(streamNameFor(two, null)).toBeNull();
    expect(streamNameFor(any, null)).toBeNull();
  });

  it('takes the name of the address only when the token allows it', () => {
    expect(streamNameFor(two, 'other')).toBe('other');
    expect(streamNameFor(any, 'x')).toBe('x');
    expect(streamNameFor(one, 'x')).toBeNull();
    expect(streamNameFor(any, 'x'.repeat(129))).toBeNull();
  });
});

describe('allows', () => {
  it('matches patterns against the whole name', () => {
    const streams = [{ streamName: 'room-[0-9]+', isRegex: true }];
    expect(allows(streams, 'room-12')).toBe(true);
    expect(allows(streams, 'my-room-12')).toBe(false);
  });

  it('does not read a plain name as a pattern', () => {
    expect(allows([{ streamName: 'a.c', isRegex: false }], 'abc')).toBe(false);
  });

  it('leaves patterns it cannot read to the server', () => {
    expect(allows([{ streamName: '(?P<x>a)', isRegex: true }], 'a')).toBe(true);
  });
});

it('knows plain names and "any"', () => {
  expect(plainNames([...two, ...any])).toEqual(['demo', 'other']);
  expect(allowsAny(any)).toBe(true);
  expect(allowsAny([{ streamName: 'a.*', isRegex: true }])).toBe(false);
});
