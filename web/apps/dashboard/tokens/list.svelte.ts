/**
 * The state of a token list: search, order and page live in the address, the selection in memory.
 * The list is loaded again when the address changes or when anyone changes a token.
 */
import { untrack } from 'svelte';
import { SvelteSet } from 'svelte/reactivity';
import type { ListQuery, Page } from '$api';
import { live } from '../live.svelte';
import { Resource } from '../resource.svelte';
import { router } from '../router.svelte';

export const PAGE_SIZE = 25;

export class TokenList<T extends { id: number }> {
  readonly resource = new Resource<Page<T>>();
  readonly selected = new SvelteSet<number>();
  readonly #fetch: (query: ListQuery) => Promise<Page<T>>;

  search = $derived(router.query.get('q')?.slice(0, 128) ?? '');
  page = $derived(router.number('page', 1));
  sort = $derived(router.choice('sort', ['name', 'added'] as const, 'added'));
  descending = $derived(
    router.choice('order', ['asc', 'desc'] as const, this.sort === 'added' ? 'desc' : 'asc') === 'desc',
  );
  rows = $derived(this.resource.data?.items ?? []);
  total = $derived(this.resource.data?.total ?? 0);
  /** Nothing at all exists, as opposed to: nothing matches. */
  empty = $derived(this.resource.data !== undefined && this.total === 0 && !this.search);
  picked = $derived(this.rows.filter((row) => this.selected.has(row.id)));

  constructor(type: 'Publish' | 'Subscribe', fetch: (query: ListQuery) => Promise<Page<T>>) {
    this.#fetch = fetch;
    $effect(() => {
      const query: ListQuery = {
        name: this.search,
        page: this.page,
        itemsOnPage: PAGE_SIZE,
        sortBy: this.sort === 'name' ? 'Name' : 'AddedOn',
        isDescending: this.descending,
      };
      untrack(() => {
        this.selected.clear();
        void this.#load(query);
      });
    });
    $effect(() => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stop = live.onToken((change) => {
        if (change.tokenType !== type) return;
        clearTimeout(timer);
        timer = setTimeout(() => void this.reload(), 150);
      });
      return () => {
        clearTimeout(timer);
        stop();
      };
    });
  }

  async #load(query: ListQuery): Promise<void> {
    await this.resource.load(() => this.#fetch(query));
    const last = Math.max(1, Math.ceil(this.total / PAGE_SIZE));
    // The page may have emptied under us: go to the last one there is.
    if (this.resource.data && this.rows.length === 0 && this.page > last) this.goPage(last, true);
  }

  async reload(): Promise<void> {
    await this.#load({
      name: this.search,
      page: this.page,
      itemsOnPage: PAGE_SIZE,
      sortBy: this.sort === 'name' ? 'Name' : 'AddedOn',
      isDescending: this.descending,
    });
    for (const id of this.selected) if (!this.rows.some((row) => row.id === id)) this.selected.delete(id);
  }

  setSearch(text: string): void {
    router.setQuery({ q: text, page: null }, { replace: true });
  }

  setSort(sort: 'name' | 'added'): void {
    const natural = sort === 'added' ? 'desc' : 'asc';
    const order = this.sort === sort ? (this.descending ? 'asc' : 'desc') : natural;
    router.setQuery({
      sort: sort === 'added' ? null : sort,
      order: order === natural ? null : order,
      page: null,
    });
  }

  goPage(page: number, replace = false): void {
    router.setQuery({ page: page === 1 ? null : page }, { replace });
  }

  toggle(id: number, on: boolean): void {
    if (on) this.selected.add(id);
    else this.selected.delete(id);
  }

  toggleAll(on: boolean): void {
    if (on) for (const row of this.rows) this.selected.add(row.id);
    else this.selected.clear();
  }
}
