import { describe, expect, test } from 'vitest';
import { errorFrom } from './errors';

describe('errorFrom', () => {
  test('the first field message is the message, and every field keeps its own', () => {
    const error = errorFrom(400, {
      status: 'fail',
      data: {
        message: 'Validation errors',
        errors: { label: ['Too long.', 'x'], 'streams.0': ['Bad name.'] },
      },
    });
    expect(error.message).toBe('Too long.');
    expect(error.fields).toEqual({ label: 'Too long.', 'streams.0': 'Bad name.' });
  });

  test('a fail without fields gives its message', () => {
    expect(errorFrom(401, { status: 'fail', data: { message: 'Unauthorized' } }).message).toBe(
      'Unauthorized',
    );
  });

  test('a fail named by another key gives that text', () => {
    expect(errorFrom(404, { status: 'fail', data: { tokenId: 'No publish token with id: 7' } }).message).toBe(
      'No publish token with id: 7',
    );
  });

  test('a server error gives its message', () => {
    expect(errorFrom(500, { status: 'error', message: 'Database is locked' }).message).toBe(
      'Database is locked',
    );
  });

  test.each([null, undefined, '', 'Bad gateway', [], 5, { data: null }, { data: { errors: [] } }])(
    'a body nobody expected (%j) gives words for the status',
    (body) => {
      const error = errorFrom(503, body);
      expect(error.message).toMatch(/not ready/);
      expect(error.transient).toBe(true);
    },
  );

  test('reads the message of the livestream API', () => {
    const error = { code: 400, message: 'BAD_REQUEST: "name" is required' };
    expect(errorFrom(400, { success: false, error, errors: [error] }).message).toBe('"name" is required');
  });
});
