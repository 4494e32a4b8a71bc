import { describe, expect, it } from 'vitest';
import { readParams } from './params';

describe('readParams', () => {
  it('is null without a whole stream id', () => {
    for (const search of ['', '?streamId=', '?streamId=acc', '?streamId=acc/', '?streamId=/demo'])
      expect(readParams(search)).toBeNull();
  });

  it('has defaults that play at once and with sound', () => {
    expect(readParams('?streamId=acc/demo')).toEqual({
      accountId: 'acc',
      streamName: 'demo',
      token: null,
      sourceId: null,
      muted: false,
      autoplay: true,
      controls: true,
      hidden: new Set(),
      startingQuality: null,
      protocol: null,
      image: null,
    });
  });

  it('keeps slashes of the stream name', () => {
    expect(readParams('?streamId=acc%2Fa%2Fb')).toMatchObject({ accountId: 'acc', streamName: 'a/b' });
  });

  it('takes both spellings of muted, with and without a value', () => {
    for (const search of ['&muted', '&mute', '&muted=true', '&mute=1'])
      expect(readParams(`?streamId=a/b${search}`)?.muted).toBe(true);
    expect(readParams('?streamId=a/b&muted=false')?.muted).toBe(false);
  });

  it('takes a protocol that it knows', () => {
    for (const [value, protocol] of [
      ['hls', 'hls'],
      ['webrtc', 'webrtc'],
      ['rtmp', null],
    ])
      expect(readParams(`?streamId=a/b&protocol=${value}`)?.protocol).toBe(protocol);
  });

  it('hides parts by either way of asking', () => {
    const params = readParams(
      '?streamId=a/b&pip=false&userCount=false&disableSettings&hideButtons=play,nope',
    );
    expect(params?.hidden).toEqual(new Set(['play', 'pip', 'userCount', 'settings']));
  });

  it('takes no picture from a script address', () => {
    expect(readParams('?streamId=a/b&image=javascript:alert(1)')?.image).toBeNull();
    expect(readParams('?streamId=a/b&image=https://x.example/p.jpg')?.image).toBe('https://x.example/p.jpg');
  });
});
