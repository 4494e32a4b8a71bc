import { describe, expect, it } from 'vitest';
import { EMBED_DEFAULTS, embedCode, viewerLink, whepLink } from './embed';

const place = {
  viewerUrl: 'https://live.example/viewer',
  whepUrl: 'https://live.example/api/whep/acc',
  accountId: 'acc',
};

describe('viewerLink', () => {
  it('escapes both sides of the slash', () => {
    expect(viewerLink(place, 'a b/c&d', null)).toBe('https://live.example/viewer?streamId=acc/a%20b%2Fc%26d');
  });

  it('names the source when it is not the main one', () => {
    expect(viewerLink(place, 'demo', 'cam 2')).toBe(
      'https://live.example/viewer?streamId=acc/demo&sourceId=cam%202',
    );
  });
});

it('makes the WHEP address', () => {
  expect(whepLink(place, 'demo', null)).toBe('https://live.example/api/whep/acc/demo');
  expect(whepLink(place, 'demo', 'b')).toBe('https://live.example/api/whep/acc/demo?sourceId=b');
});

describe('embedCode', () => {
  const link = viewerLink(place, 'demo', null);

  it('has a fixed size and no options by default', () => {
    const code = embedCode(link, EMBED_DEFAULTS);
    expect(code).toContain('src="https://live.example/viewer?streamId=acc/demo" width="640" height="360"');
    expect(code).toContain('allowfullscreen');
  });

  it('carries every option that differs', () => {
    const code = embedCode(link, { ...EMBED_DEFAULTS, autoplay: false, muted: true, controls: false });
    expect(code).toContain('demo&amp;autoplay=false&amp;muted=true&amp;controls=false"');
  });

  it('fills the page when asked', () => {
    expect(embedCode(link, { ...EMBED_DEFAULTS, fluid: true })).toContain('aspect-ratio: 640 / 360');
  });

  it('cannot be broken out of', () => {
    expect(embedCode('https://x/"><script>', EMBED_DEFAULTS)).toContain('&quot;&gt;&lt;script&gt;');
  });
});
