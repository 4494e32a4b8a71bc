import { describe, expect, it } from 'vitest';
import { readFragment, restartedAnswer, writeFragment } from './sdpfrag';

const DESCRIPTION = [
  'v=0',
  'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=mid:0',
  'a=ice-ufrag:olds',
  'a=ice-pwd:oldpasswordoldpassword',
  'a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host',
  'a=end-of-candidates',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=mid:1',
  'a=ice-ufrag:olds',
  'a=ice-pwd:oldpasswordoldpassword',
  '',
].join('\r\n');

describe('writeFragment', () => {
  it('puts candidates into the first section, each once', () => {
    const candidate = 'candidate:1 1 udp 1 192.0.2.9 5000 typ host';
    const fragment = writeFragment(
      DESCRIPTION,
      [
        { candidate, mid: '0' },
        { candidate, mid: '1' },
        { candidate: '', mid: '0' },
      ],
      true,
    );
    expect(fragment.split('\r\n')).toEqual([
      'a=group:BUNDLE 0 1',
      'a=ice-ufrag:olds',
      'a=ice-pwd:oldpasswordoldpassword',
      'm=audio 9 UDP/TLS/RTP/SAVPF 0',
      'a=mid:0',
      'a=ice-ufrag:olds',
      'a=ice-pwd:oldpasswordoldpassword',
      `a=${candidate}`,
      'a=end-of-candidates',
      '',
    ]);
  });
});

describe('readFragment', () => {
  it('survives what is no fragment', () => {
    expect(readFragment('')).toEqual({ credentials: null, candidates: [], complete: false });
    expect(readFragment('<html>')).toEqual({ credentials: null, candidates: [], complete: false });
  });

  it('bounds the number of candidates', () => {
    const lines = Array.from({ length: 1000 }, (_, i) => `a=candidate:${i} 1 udp 1 192.0.2.1 1 typ host`);
    expect(readFragment(lines.join('\r\n')).candidates).toHaveLength(64);
  });
});

describe('restartedAnswer', () => {
  const fragment = [
    'a=ice-ufrag:news',
    'a=ice-pwd:newpasswordnewpassword',
    'm=audio 9 UDP/TLS/RTP/SAVPF 0',
    'a=mid:0',
    'a=candidate:2 1 udp 2130706431 192.0.2.2 8189 typ host',
    '',
  ].join('\r\n');

  it('is null without new credentials', () => {
    expect(restartedAnswer(DESCRIPTION, 'a=candidate:1 1 udp 1 192.0.2.1 1 typ host')).toBeNull();
  });

  it('replaces credentials everywhere and candidates in the first section', () => {
    const answer = restartedAnswer(DESCRIPTION, fragment) ?? '';
    expect(answer).not.toContain('olds');
    expect(answer.match(/a=ice-ufrag:news/g)).toHaveLength(2);
    expect(answer.match(/a=candidate/g)).toHaveLength(1);
    expect(answer).toContain('192.0.2.2');
    expect(answer).not.toContain('end-of-candidates');
  });

  it('keeps the candidates when the fragment has none', () => {
    const short = fragment.replace(/a=candidate[^\r]*\r\n/, '');
    const answer = restartedAnswer(DESCRIPTION, short) ?? '';
    expect(answer).toContain('192.0.2.1');
  });

  it('is not confused by special characters in credentials', () => {
    const odd = fragment.replace('news', () => "$&$1'");
    expect(restartedAnswer(DESCRIPTION, odd)).toContain("a=ice-ufrag:$&$1'\r\n");
  });
});
