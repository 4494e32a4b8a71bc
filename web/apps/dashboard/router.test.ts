import { describe, expect, test } from 'vitest';
import { isForeign, matchPath, router, withQuery } from './router.svelte';

describe('matchPath', () => {
  test('parameters are taken and decoded', () => {
    expect(matchPath('/live-broadcast/:id/:tab', '/live-broadcast/7/stream%20names')).toEqual({
      id: '7',
      tab: 'stream names',
    });
  });
  test('a longer, shorter or other path does not match', () => {
    expect(matchPath('/a/:id', '/a')).toBeNull();
    expect(matchPath('/a/:id', '/a/1/2')).toBeNull();
    expect(matchPath('/a', '/b')).toBeNull();
  });
  test('a broken escape does not match', () => expect(matchPath('/a/:id', '/a/%E0%A4')).toBeNull());
  test('a trailing slash is the same page', () => expect(matchPath('/a', '/a/')).toEqual({}));
});

test('empty query values are left out', () => {
  expect(withQuery('/x', { q: '', page: null, sort: 'name', n: 2, v: 'a b' })).toBe('/x?sort=name&n=2&v=a+b');
});

test('the broadcaster, the viewer and the API are left to the browser', () => {
  expect(['/broadcaster', '/viewer', '/api/session', '/assets/x.js'].every(isForeign)).toBe(true);
  expect(isForeign('/live-broadcast')).toBe(false);
});

describe('router', () => {
  test('filters live in the address and Back undoes them', () => {
    router.go('/live-broadcast?q=cam');
    router.setQuery({ page: 2 });
    expect(location.search).toBe('?q=cam&page=2');
    expect(router.number('page', 1)).toBe(2);
    router.setQuery({ page: null, q: null });
    expect(location.search).toBe('');
  });
  test('a query nobody can mean falls back', () => {
    router.go('/live-broadcast?page=-4&sort=evil');
    expect(router.number('page', 1)).toBe(1);
    expect(router.choice('sort', ['name', 'added'] as const, 'added')).toBe('added');
  });
});
