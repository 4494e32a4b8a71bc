import { describe, expect, it } from 'vitest';
import type { PublishStats } from '$media/stats';
import { advise, type Situation } from './preflight';

const well: Situation = {
  live: false,
  reconnecting: false,
  tokenActive: true,
  tokenExpired: false,
  picture: 'camera',
  audioOnly: false,
  hasAudio: true,
  muted: false,
  silent: false,
  otherMicrophone: { id: 'b', label: 'Headset' },
  sourceIdBad: false,
  resolution: '720',
  frameRate: 30,
  codec: 'vp8',
  maxBitrate: 2_500_000,
  elapsed: 0,
  stats: null,
};

const starved = { limitedBy: 'bandwidth', height: 360, available: 1_200_000 } as PublishStats;

describe('advise before going live', () => {
  it('says what will be sent when all is well', () => {
    expect(advise(well)).toEqual({
      level: 'ok',
      text: 'Ready to go live: 720p, 30 fps, VP8, 2.5 Mbit/s',
      fix: null,
    });
  });

  it('puts a token that will be refused before everything else', () => {
    const advice = advise({ ...well, tokenActive: false, muted: true });
    expect(advice?.fix?.act).toEqual({ name: 'tokenSettings' });
  });

  it('offers another microphone for a silent one', () => {
    expect(advise({ ...well, silent: true })?.fix).toEqual({
      label: 'Use Headset',
      act: { name: 'microphone', id: 'b' },
    });
    expect(advise({ ...well, silent: true, otherMicrophone: null })?.fix).toBeNull();
  });

  it('does not call the tone of the test pattern silent', () => {
    expect(advise({ ...well, silent: true, picture: 'pattern' })?.level).toBe('ok');
  });

  it('minds a camera that is off, but not for audio only', () => {
    expect(advise({ ...well, picture: 'off' })?.fix?.act.name).toBe('cameraOn');
    expect(advise({ ...well, picture: 'off', audioOnly: true })?.level).toBe('ok');
  });
});

describe('advise while live', () => {
  const live = { ...well, live: true, elapsed: 60_000 };

  it('is quiet when all is well', () => {
    expect(advise(live)).toBeNull();
  });

  it('names the upload and the resolution that fits it', () => {
    expect(advise({ ...live, stats: starved })).toEqual({
      level: 'warn',
      text: 'Upload is 1.2 Mbit/s: 720p will stutter; use 480p.',
      fix: { label: 'Use 480p', act: { name: 'resolution', value: '480' } },
    });
  });

  it('waits until the encoder has found its rate', () => {
    expect(advise({ ...live, elapsed: 5_000, stats: starved })).toBeNull();
  });

  it('minds a slow computer only when the picture really shrank', () => {
    const slow = { limitedBy: 'cpu', height: 720, available: null } as PublishStats;
    expect(advise({ ...live, stats: slow })).toBeNull();
    expect(advise({ ...live, stats: { ...slow, height: 360 } })?.fix?.label).toBe('Use 480p');
  });

  it('says that it reconnects whatever else is wrong', () => {
    expect(advise({ ...live, reconnecting: true, muted: true })?.text).toContain('Reconnecting');
  });
});
