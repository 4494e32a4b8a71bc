import { describe, expect, it } from 'vitest';
import {
  ABS_CAPTURE_TIME,
  iceCredentials,
  isIceLite,
  withHeaderExtension,
  withStartBitrate,
  withStereoOpus,
} from './sdp';

const OFFER = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111 0',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=mid:0',
  'a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level',
  'a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=rtpmap:111 opus/48000/2',
  'a=fmtp:111 minptime=10;useinbandfec=1',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=mid:1',
  'a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=extmap:3 urn:3gpp:video-orientation',
  'a=rtpmap:96 VP8/90000',
  '',
].join('\r\n');

describe('iceCredentials', () => {
  it('reads the first section that has them', () => {
    expect(iceCredentials(OFFER)).toEqual({ ufrag: 'abcd', pwd: '0123456789012345678901' });
  });

  it('is null when one half is missing', () => {
    expect(iceCredentials('v=0\r\na=ice-ufrag:abcd\r\n')).toBeNull();
  });
});

describe('isIceLite', () => {
  it('knows a lite peer', () => {
    expect(isIceLite('v=0\r\na=ice-lite\r\nm=audio 9 X 0\r\n')).toBe(true);
    expect(isIceLite(OFFER)).toBe(false);
  });
});

describe('withStereoOpus', () => {
  it('adds stereo to the Opus line only, and once', () => {
    const once = withStereoOpus(OFFER);
    expect(once).toContain('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n');
    expect(withStereoOpus(once)).toBe(once);
    expect(once.replace(';stereo=1;sprop-stereo=1', '')).toBe(OFFER);
  });

  it('replaces a mono wish', () => {
    const mono = OFFER.replace('useinbandfec=1', 'useinbandfec=1;stereo=0');
    expect(withStereoOpus(mono)).toContain('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1');
  });

  it('makes a format line where there is none', () => {
    const bare = OFFER.replace(/a=fmtp:111[^\r]*\r\n/, '');
    expect(withStereoOpus(bare)).toContain(
      'a=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=1;sprop-stereo=1\r\n',
    );
  });

  it('leaves a description without Opus alone', () => {
    const other = OFFER.replaceAll('opus', 'g722');
    expect(withStereoOpus(other)).toBe(other);
  });
});

describe('withHeaderExtension', () => {
  it('takes the first id that no section of the bundle uses', () => {
    const timed = withHeaderExtension(OFFER, ABS_CAPTURE_TIME);
    expect(timed.match(/a=extmap:4 http[^\r]*abs-capture-time/g)).toHaveLength(2);
  });

  it('keeps the id of a section that has it already', () => {
    const half = OFFER.replace('a=rtpmap:96', `a=extmap:9 ${ABS_CAPTURE_TIME}\r\na=rtpmap:96`);
    const timed = withHeaderExtension(half, ABS_CAPTURE_TIME);
    expect(timed.match(/a=extmap:9 /g)).toHaveLength(2);
    expect(withHeaderExtension(timed, ABS_CAPTURE_TIME)).toBe(timed);
  });

  it('changes nothing when all ids are taken', () => {
    const full = OFFER.replace(
      'a=rtpmap:96',
      `${Array.from({ length: 14 }, (_, i) => `a=extmap:${i + 1} urn:x:${i}`).join('\r\n')}\r\na=rtpmap:96`,
    );
    expect(withHeaderExtension(full, ABS_CAPTURE_TIME)).toBe(full);
  });
});

describe('withStartBitrate', () => {
  it('adds a format line to codecs without one, and leaves audio alone', () => {
    const fast = withStartBitrate(OFFER, 1_750_000);
    expect(fast).toContain('a=rtpmap:96 VP8/90000\r\na=fmtp:96 x-google-start-bitrate=1750\r\n');
    expect(fast.match(/x-google/g)).toHaveLength(1);
    expect(withStartBitrate(fast, 1_750_000)).toBe(fast);
  });

  it('extends the format lines of codecs, not those of retransmission', () => {
    const sdp = [
      'm=video 9 UDP/TLS/RTP/SAVPF 102 103',
      'a=rtpmap:102 H264/90000',
      'a=fmtp:102 packetization-mode=1',
      'a=rtpmap:103 rtx/90000',
      'a=fmtp:103 apt=102',
      '',
    ].join('\r\n');
    const fast = withStartBitrate(sdp, 1_000_000);
    expect(fast).toContain('a=fmtp:102 packetization-mode=1;x-google-start-bitrate=1000\r\n');
    expect(fast).toContain('a=fmtp:103 apt=102\r\n');
  });
});
