import { describe, expect, it } from 'vitest';
import { deviceError, openCamera } from './devices';

describe('deviceError', () => {
  const named = (name: string, message = 'x', extra = {}) =>
    Object.assign(new Error(message), { name }, extra);

  it.each([
    ['NotAllowedError', 'denied'],
    ['NotFoundError', 'missing'],
    ['NotReadableError', 'busy'],
    ['OverconstrainedError', 'overconstrained'],
    ['TypeError', 'unknown'],
  ] as const)('sorts %s as %s', (name, kind) => {
    expect(deviceError(named(name), 'camera').kind).toBe(kind);
  });

  it('keeps the constraint that failed', () => {
    const error = deviceError(named('OverconstrainedError', '', { constraint: 'height' }), 'camera');
    expect(error.constraint).toBe('height');
  });

  it('tells a closed screen picker from a ban by the system', () => {
    expect(deviceError(named('NotAllowedError', 'Permission denied by user'), 'screen').kind).toBe(
      'cancelled',
    );
    expect(deviceError(named('NotAllowedError', 'Permission denied by system'), 'screen').kind).toBe(
      'denied',
    );
  });

  it('takes what is no error at all', () => {
    expect(deviceError('boom', 'microphone')).toMatchObject({ kind: 'unknown', detail: 'boom' });
  });

  it('reports an insecure page without asking for anything', async () => {
    Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true });
    const shape = { width: null, height: null, frameRate: null };
    await expect(openCamera(null, shape)).rejects.toMatchObject({ kind: 'insecure' });
  });
});
