import { expect, test } from 'vitest';
import type { LayerSelection, Quality } from '$media/layers';
import { QualityMenu } from './quality-menu';

const quality = (label: string, id: string, bitrate?: number): Quality => ({
  label,
  selection: { encodingId: id },
  ...(bitrate ? { bitrate } : {}),
});

function menu(starting: string | null = null) {
  const chosen: (LayerSelection | null)[] = [];
  const made = new QualityMenu(starting, (selection) => chosen.push(selection));
  const pick = (value: string) => {
    made.select.value = value;
    made.select.dispatchEvent(new Event('change'));
  };
  const texts = () => [...made.select.options].map(({ text }) => text);
  return { made, chosen, pick, texts };
}

test('the menu is there when there is a choice, and says what each quality takes', () => {
  const { made, texts } = menu();
  expect(made.element.hidden).toBe(true);
  made.show([quality('720p', 'h', 2_400_000), quality('360p', 'l', 640_000)]);
  expect(made.element.hidden).toBe(false);
  expect(texts()).toEqual(['Auto', '720p · 2.4 Mbit/s', '360p · 640 kbit/s']);
  made.show([]);
  expect(made.element.hidden).toBe(true);
});

test('what is chosen is asked for, and Auto takes it back', () => {
  const { made, chosen, pick } = menu();
  made.show([quality('720p', 'h'), quality('360p', 'l')]);
  pick('360p');
  expect(made.element.textContent).toContain('360p');
  pick('auto');
  expect(chosen).toEqual([{ encodingId: 'l' }, null]);
});

test('the same quality is chosen when the stream goes on in another way', () => {
  const { made, chosen, pick } = menu();
  made.show([quality('720p', 'h'), quality('360p', 'l')]);
  pick('360p');
  made.seekAgain();
  made.show([quality('720p', '/v/live.m3u8', 9e5), quality('360p', '/w/live.m3u8', 3e5)]);
  expect(chosen).toEqual([{ encodingId: 'l' }, { encodingId: '/w/live.m3u8' }]);
  expect(made.select.value).toBe('360p');
});

test('the quality that the address names is chosen once, and again when there is a better one', () => {
  const { made, chosen, pick } = menu('low');
  made.show([quality('720p', 'h'), quality('360p', 'l')]);
  made.show([quality('720p', 'h'), quality('360p', 'l')]);
  expect(chosen).toEqual([{ encodingId: 'l' }]);
  made.show([quality('720p', 'h'), quality('360p', 'l'), quality('180p', 'q')]);
  expect(chosen.at(-1)).toEqual({ encodingId: 'q' });
  expect(made.select.value).toBe('180p');
  pick('720p');
  made.show([quality('720p', 'h'), quality('360p', 'l'), quality('180p', 'q')]);
  expect(chosen.at(-1)).toEqual({ encodingId: 'h' });
});
