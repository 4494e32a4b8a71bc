import { type Component, flushSync, mount, unmount } from 'svelte';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import ConfirmDialog from './ConfirmDialog.svelte';
import CopyField from './CopyField.svelte';
import Pagination from './Pagination.svelte';
import { toast } from './toast.svelte';

let parts: Record<string, unknown>[] = [];

function show<Props extends Record<string, unknown>>(
  component: Component<Props, object, string>,
  props: Props,
) {
  parts.push(mount(component as Component<Record<string, unknown>>, { target: document.body, props }));
  flushSync();
}

const find = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);

beforeEach(() => vi.useFakeTimers());

afterEach(async () => {
  for (const part of parts) await unmount(part);
  parts = [];
  for (const item of toast.list) toast.dismiss(item.id);
  document.body.innerHTML = '';
  vi.useRealTimers();
});

test('a secret is not in the page until the eye is pressed', () => {
  show(CopyField, { label: 'Token', value: 'deadbeef', secret: true, testid: 'value' });
  expect(document.body.innerHTML).not.toContain('deadbeef');
  find('value-eye')?.click();
  flushSync();
  expect(find('value')?.textContent).toBe('deadbeef');
  find('value-eye')?.click();
  flushSync();
  expect(document.body.innerHTML).not.toContain('deadbeef');
});

test('a secret inside an address is masked, the rest is shown', () => {
  show(CopyField, { label: 'Link', value: 'https://x/?token=deadbeef', mask: 'deadbeef', testid: 'value' });
  expect(find('value')?.textContent).toMatch(/^https:\/\/x\/\?token=•+$/);
});

test('what cannot be undone needs its name typed', async () => {
  vi.useRealTimers();
  const onconfirm = vi.fn(() => Promise.resolve());
  show(ConfirmDialog, {
    open: true,
    title: 'Delete "cam"?',
    text: 'What is lost:',
    losses: ['All'],
    typeName: 'cam',
    confirm: 'Delete',
    onconfirm,
  });
  await vi.waitFor(() => expect(find('confirm-yes')).not.toBeNull());
  const yes = find('confirm-yes') as HTMLButtonElement;
  const name = find('confirm-name') as HTMLInputElement;
  expect(yes.disabled).toBe(true);
  name.value = 'cam';
  name.dispatchEvent(new Event('input', { bubbles: true }));
  flushSync();
  expect(yes.disabled).toBe(false);
  yes.click();
  expect(onconfirm).toHaveBeenCalledOnce();
});

test('a toast goes by itself, stays under the pointer, and at most four are shown', () => {
  for (const text of ['one', 'two', 'three', 'four', 'five']) toast.ok(text);
  expect(toast.list.map((item) => item.text)).toEqual(['two', 'three', 'four', 'five']);
  const held = toast.list[0];
  if (held) toast.pause(held.id);
  vi.advanceTimersByTime(10_000);
  expect(toast.list.map((item) => item.text)).toEqual(['two']);
});

test('the last page says where it ends and has no next', () => {
  const onpage = vi.fn();
  show(Pagination, { page: 2, pageSize: 25, total: 30, onpage });
  expect(find('range')?.textContent).toBe('26–30 of 30');
  expect((find('page-next') as HTMLButtonElement).disabled).toBe(true);
  find('page-previous')?.click();
  expect(onpage).toHaveBeenCalledWith(1);
});
