import { describe, expect, test } from 'vitest';
import {
  apiSnippets,
  broadcasterUrl,
  htmlEscape,
  iframeCode,
  jwtSnippet,
  playSnippets,
  publishSnippets,
  shellQuote,
  viewerUrl,
  whepUrl,
  whipUrl,
} from './snippets';

const endpoints = {
  whipUrl: 'https://live.example/api/whip/',
  whepUrl: 'https://live.example/api/whep/k9Mwad',
  viewerUrl: 'https://live.example/viewer',
  accountId: 'k9Mwad',
};

describe('addresses', () => {
  test('a plain name stays plain', () => {
    expect(whipUrl(endpoints, 'demo')).toBe('https://live.example/api/whip/demo');
    expect(whepUrl(endpoints, 'demo')).toBe('https://live.example/api/whep/k9Mwad/demo');
    expect(viewerUrl(endpoints, 'demo')).toBe('https://live.example/viewer?streamId=k9Mwad/demo');
  });

  test('an odd name is escaped and survives the way back', () => {
    const name = `a b/ü?&#"'`;
    expect(decodeURIComponent(whipUrl(endpoints, name).split('/').pop() ?? '')).toBe(name);
    expect(new URL(viewerUrl(endpoints, name, 'a&b')).searchParams.get('streamId')).toBe(`k9Mwad/${name}`);
    expect(new URL(viewerUrl(endpoints, name, 'a&b')).searchParams.get('token')).toBe('a&b');
    expect(new URL(broadcasterUrl(7, name), 'https://x').searchParams.get('stream')).toBe(name);
  });
});

describe('quoting', () => {
  test.each([
    ['abc-1.2:3/4', 'abc-1.2:3/4'],
    ['two words', `'two words'`],
    [`it's $HOME`, `'it'\\''s $HOME'`],
    ['', `''`],
  ])('shell: %s', (text, quoted) => expect(shellQuote(text)).toBe(quoted));

  test('an address cannot leave its attribute', () => {
    expect(htmlEscape('"><script>')).toBe('&quot;&gt;&lt;script&gt;');
    expect(iframeCode('https://x/?a=1&b="')).toContain('src="https://x/?a=1&amp;b=&quot;"');
  });
});

describe('snippets', () => {
  test('each publishing snippet carries the address and the token', () => {
    for (const snippet of publishSnippets('https://x/api/whip/demo', 'deadbeef')) {
      expect(snippet.code, snippet.id).toContain('https://x/api/whip/demo');
      expect(snippet.code, snippet.id).toContain('deadbeef');
    }
  });

  test('the subscribe token appears only when there is one', () => {
    const open = playSnippets('https://x/api/whep/a/demo', 'https://x/viewer?streamId=a/demo');
    expect(open.some((snippet) => /token|Bearer/.test(snippet.code))).toBe(false);
    const secured = playSnippets('https://x/api/whep/a/demo', 'https://x/v', 'cafe');
    expect(secured.filter((snippet) => snippet.code.includes('cafe')).map((one) => one.id)).toEqual([
      'gstreamer',
      'stagecast',
      'curl',
    ]);
  });

  test('a stream can be stopped only by its full id', () => {
    expect(apiSnippets('https://x/api', 7, null).map((one) => one.id)).not.toContain('stop');
    expect(apiSnippets('https://x/api', 7, `a/it's`).find((one) => one.id === 'stop')?.code).toContain(
      `'{"streamId":"a/it'\\''s"}'`,
    );
  });

  test('the JWT example names token and stream', () => {
    expect(jwtSnippet(4, 'key', 'de"mo')).toContain('streamName: "de\\"mo"');
  });
});
