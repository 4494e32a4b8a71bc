import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { SeekRange } from '$media/hls';
import { SeekBar } from './seek-bar';

let range: SeekRange | null = null;
let video: HTMLVideoElement;
let bar: SeekBar;
const find = <T extends HTMLElement>(id: string) => bar.element.querySelector(`[data-testid=${id}]`) as T;

beforeEach(() => {
  vi.useFakeTimers();
  range = null;
  video = document.createElement('video');
  video.play = () => Promise.resolve();
  bar = new SeekBar(video, () => range);
});

afterEach(() => {
  bar.destroy();
  vi.useRealTimers();
});

function at(seconds: number, now: SeekRange | null) {
  range = now;
  video.currentTime = seconds;
  vi.advanceTimersByTime(500);
}

test('without a past there is nothing to seek in', () => {
  at(10, null);
  expect(bar.shown).toBe(false);
  expect(find('go-live').hidden).toBe(true);
});

test('at the end of a long past there is a bar and no way back to live', () => {
  at(99, { start: 0, live: 100 });
  expect(bar.shown).toBe(true);
  expect(find('go-live').hidden).toBe(true);
});

test('a person seeks back, sees how far, and goes live again', () => {
  at(100, { start: 0, live: 100 });
  const slider = find<HTMLInputElement>('seek');
  slider.value = '35';
  slider.dispatchEvent(new Event('input'));
  expect(video.currentTime).toBe(35);
  expect(find('go-live').hidden).toBe(false);
  expect(bar.element.textContent).toContain('-1:05');
  find('go-live').click();
  expect(video.currentTime).toBe(100);
  expect(find('go-live').hidden).toBe(true);
});

test('far back it counts hours', () => {
  at(0, { start: 0, live: 7385.6 });
  expect(bar.element.textContent).toContain('-2:03:05');
});

test('keys seek by seconds, within what there is', () => {
  at(2, { start: 0, live: 100 });
  const slider = find<HTMLInputElement>('seek');
  const press = (key: string) => {
    const event = new KeyboardEvent('keydown', { key, cancelable: true });
    slider.dispatchEvent(event);
    return event.defaultPrevented;
  };
  expect(press('ArrowRight')).toBe(true);
  expect(video.currentTime).toBe(7);
  expect(slider.getAttribute('aria-valuetext')).toBe('-1:33');
  press('ArrowLeft');
  press('ArrowLeft');
  expect(video.currentTime).toBe(0);
  bar.by(500);
  expect(video.currentTime).toBe(100);
  expect(slider.getAttribute('aria-valuetext')).toBe('LIVE');
  expect(press('Tab')).toBe(false);
});
