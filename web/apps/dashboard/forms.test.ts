import { describe, expect, test } from 'vitest';
import {
  checkExpiry,
  checkIps,
  checkOrigins,
  checkPasswords,
  checkStreamName,
  isIpRule,
  parseLines,
  randomStreamName,
  secondsUntil,
  toLocalInput,
} from './forms';

test('lists are split by line or comma, without blanks and doubles', () => {
  expect(parseLines(' a.com, b.com\n\n a.com \n')).toEqual(['a.com', 'b.com']);
});

describe('addresses', () => {
  test.each(['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32', '0.0.0.0/0'])('%s is allowed', (ip) =>
    expect(isIpRule(ip)).toBe(true),
  );
  test.each([
    '10.0.0.1-10.0.0.9',
    '10.0.0.*',
    '300.1.1.1',
    '10.0.0.0/33',
    '::1/129',
    'host',
    '1.2.3',
    '::g',
    '1/2/3',
  ])('%s is refused', (ip) => expect(isIpRule(ip)).toBe(false));
  test('the refusal names the entry', () => expect(checkIps('10.0.0.1\nnope')).toContain('nope'));
  test('origins take a wildcard at the front only', () => {
    expect(checkOrigins('*.demo.com\nexample.com\nhttps://a.b:8443\nlocalhost')).toBeUndefined();
    expect(checkOrigins('demo.*')).toContain('demo.*');
    expect(checkOrigins('https://a.b/path')).toContain('/path');
  });
});

describe('stream names', () => {
  test('a broken pattern is refused as a pattern and allowed as a name', () => {
    expect(checkStreamName('cam(', true)).toBeDefined();
    expect(checkStreamName('cam(', false)).toBeUndefined();
  });
  test('empty and too long are refused', () => {
    expect(checkStreamName('  ', false)).toBeDefined();
    expect(checkStreamName('x'.repeat(129), false)).toBeDefined();
  });
  test('random names are readable and differ', () => {
    expect(randomStreamName()).toMatch(/^[a-hjkmnp-z2-9]{10}$/);
    expect(randomStreamName()).not.toBe(randomStreamName());
  });
});

describe('expiry', () => {
  const now = new Date('2026-11-21T07:00:00').getTime();
  test('a local time becomes seconds from now', () =>
    expect(secondsUntil('2026-11-21T08:00', now)).toBe(3600));
  test('the past and nothing are refused', () => {
    expect(checkExpiry('2026-11-21T06:59', now)).toBeDefined();
    expect(checkExpiry('', now)).toBeDefined();
    expect(checkExpiry('2026-11-21T08:00', now)).toBeUndefined();
  });
  test('a date survives the way into the input and back', () => {
    expect(toLocalInput(new Date(2026, 0, 5, 9, 3))).toBe('2026-01-05T09:03');
  });
});

test('a new password is long, new and typed twice', () => {
  expect(checkPasswords('short', 'short', '')).toBeDefined();
  expect(checkPasswords('long enough now', 'long enough now', 'long enough now')).toBeDefined();
  expect(checkPasswords('long enough now', 'long enough noW', 'x')).toBeDefined();
  expect(checkPasswords('long enough now', 'long enough now', 'x')).toBeUndefined();
});
