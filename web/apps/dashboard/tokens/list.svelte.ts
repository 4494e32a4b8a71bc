/**
 * The state of a token list: search, order and page live in the address, the selection in memory.
 * The list is loaded again when the address changes or when anyone changes a token, and after its own changes.
 */
import { untrack } from 'svelte';
import { SvelteSet } from 'svelte/reactivity';
import type { ListQuery, Page, TokenStream } from '$api';
import { messageOf } from '$api';
import { toast } from '$ui';
import { live } from '../live.svelte';
import { Resource } from '../resource.svelte';
import { router } from '../router.svelte';
import { strings } from '../strings';

export const PAGE_SIZE = 25;

/** What every kind of token has. */
export interface ListedToken {
  id: number;
  label: string;
  isActive: boolean;
  addedOn: string;
  expiresOn: string | null;
  streams: TokenStream[];
}

/** How a kind of token is read and switched. */
export interface TokenKind<T> {
  type: 'Publish' | 'Subscribe';
  fetch: (query: ListQuery) => Promise<Page<T>>;
  update: (id: number, change: { isActive: boolean }) => Promise<unknown>;
  disable: (tokens: T[]) => Promise<{ done: number; failed: number; why?: string }>;
  words: { disabledToast: (label: string) => string; bulkDisabled: (n: number) => string };
}

export class TokenList<T extends ListedToken> {
  readonly resource = new Resource<Page<T>>();
  readonly selected = new SvelteSet<number>();
  readonly #kind: TokenKind<T>;
  busy = $state(false);

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

  constructor(kind: TokenKind<T>) {
    this.#kind = kind;
    $effect(() => {
      const query = this.#query();
      untrack(() => {
        this.selected.clear();
        void this.#load(query);
      });
    });
    $effect(() => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stop = live.onToken((change) => {
        if (change.tokenType !== kind.type) return;
        clearTimeout(timer);
        timer = setTimeout(() => void this.reload(), 150);
      });
      return () => {
        clearTimeout(timer);
        stop();
      };
    });
  }

  #query(): ListQuery {
    return {
      name: this.search,
      page: this.page,
      itemsOnPage: PAGE_SIZE,
      sortBy: this.sort === 'name' ? 'Name' : 'AddedOn',
      isDescending: this.descending,
    };
  }

  async #load(query: ListQuery): Promise<void> {
    await this.resource.load(() => this.#kind.fetch(query));
    const last = Math.max(1, Math.ceil(this.total / PAGE_SIZE));
    // The page may have emptied under us: go to the last one there is.
    if (this.resource.data && this.rows.length === 0 && this.page > last) this.goPage(last, true);
  }

  async reload(): Promise<void> {
    await this.#load(this.#query());
    for (const id of this.selected) if (!this.rows.some((row) => row.id === id)) this.selected.delete(id);
  }

  async setActive(token: T, isActive: boolean): Promise<void> {
    const { update, words } = this.#kind;
    try {
      await update(token.id, { isActive });
      toast.ok(isActive ? strings.tokens.enabledToast(token.label) : words.disabledToast(token.label), {
        action: { label: strings.common.undo, run: () => void this.setActive(token, !isActive) },
      });
      await this.reload();
    } catch (error) {
      toast.error(messageOf(error));
    }
  }

  async disablePicked(): Promise<void> {
    const { disable, words } = this.#kind;
    this.busy = true;
    try {
      const { done, failed, why } = await disable(this.picked);
      if (failed) toast.error(strings.tokens.bulkFailed(failed), { detail: why });
      else toast.ok(words.bulkDisabled(done));
      this.selected.clear();
      await this.reload();
    } catch (error) {
      toast.error(messageOf(error));
    } finally {
      this.busy = false;
    }
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
