import { describe, expect, it } from 'vitest';
import { DeviceError } from '$media/devices';
import { SignallingError } from '$media/signalling';
import { broadcastProblem, inputProblem } from './problems';

describe('inputProblem', () => {
  const problem = (kind: ConstructorParameters<typeof DeviceError>[0]) => ({
    error: new DeviceError(kind, 'camera', 'Name: text', 'height'),
    unplugged: false,
    actualHeight: 480,
  });

  it('has words for every kind of trouble', () => {
    for (const kind of ['insecure', 'denied', 'missing', 'busy', 'overconstrained', 'unknown'] as const) {
      const { title, text, detail } = inputProblem(problem(kind), '1080p');
      expect(title).not.toBe('');
      expect(text).not.toBe('');
      expect(detail).toContain('Name: text');
    }
  });

  it('tells how an insecure page becomes a secure one', () => {
    expect(inputProblem(problem('insecure'), '').text).toContain('--tls self-signed');
  });

  it('says what the camera cannot do and what it does instead', () => {
    const { title, text } = inputProblem(problem('overconstrained'), '2160p');
    expect(title).toBe('This camera cannot do 2160p');
    expect(text).toContain('480p');
  });

  it('tells a camera that went away from one that never was', () => {
    const gone = inputProblem({ ...problem('missing'), unplugged: true }, '');
    expect(gone.title).toBe('The camera was disconnected');
  });
});

describe('broadcastProblem', () => {
  it('keeps the words of the server as detail', () => {
    const problem = broadcastProblem(new SignallingError(401, 'Unauthorized: token expired'));
    expect(problem.title).toBe('The server refused the broadcast');
    expect(problem.detail).toContain('token expired');
  });

  it('has words for a blocked media port, a takeover and the unexpected', () => {
    const titles = [
      broadcastProblem('unreachable'),
      broadcastProblem('replaced'),
      broadcastProblem(new Error('x')),
    ];
    expect(new Set(titles.map(({ title }) => title)).size).toBe(3);
  });
});
