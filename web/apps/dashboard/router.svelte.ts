/**
 * History routing: the address is the state. Links are ordinary links; clicks on those that stay in the
 * dashboard are taken here, all others (other pages, new tabs, downloads) are left to the browser.
 */

/** Path prefixes that are not pages of the dashboard. */
const FOREIGN = ['/api/', '/client/', '/v2/', '/broadcaster', '/viewer', '/assets/', '/openapi.json'];

export type Query = Record<string, string | number | null | undefined>;

/** A path with a query; empty and null values are left out, so that addresses stay short. */
export function withQuery(path: string, query: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** Matches "/tokens/:id/:tab" against a path; parameters are decoded. Null when it does not match. */
export function matchPath(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split('/').filter(Boolean);
  const given = path.split('/').filter(Boolean);
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? '';
    if (part.startsWith(':')) {
      try {
        params[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return null;
      }
    } else if (part !== value) return null;
  }
  return params;
}

export function isForeign(path: string): boolean {
  return FOREIGN.some((prefix) => path === prefix || path.startsWith(prefix));
}

class Router {
  path = $state(location.pathname);
  query = $state(new URLSearchParams(location.search));
  /** Counts page changes (not query changes), so that pages can move the focus. */
  visits = $state(0);

  #read(): void {
    const moved = this.path !== location.pathname;
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
    if (moved) this.visits += 1;
  }

  start(): () => void {
    const onpop = () => this.#read();
    const onclick = (event: MouseEvent) => this.#take(event);
    addEventListener('popstate', onpop);
    document.addEventListener('click', onclick);
    return () => {
      removeEventListener('popstate', onpop);
      document.removeEventListener('click', onclick);
    };
  }

  #take(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link?.href || link.target || link.hasAttribute('download')) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || isForeign(url.pathname)) return;
    event.preventDefault();
    this.go(url.pathname + url.search);
  }

  go(href: string, { replace = false } = {}): void {
    if (replace) history.replaceState(null, '', href);
    else if (href !== location.pathname + location.search) history.pushState(null, '', href);
    const before = this.path;
    this.#read();
    if (before !== this.path) scrollTo(0, 0);
  }

  /** Changes some of the query. Typing replaces the entry, so that Back leaves the page at once. */
  setQuery(change: Query, { replace = false } = {}): void {
    const query: Query = { ...Object.fromEntries(this.query), ...change };
    this.go(withQuery(this.path, query), { replace });
  }

  /** A whole number of the query within bounds, else the fallback. */
  number(name: string, fallback: number, min = 1, max = 1_000_000): number {
    const value = Number(this.query.get(name) ?? '');
    return Number.isInteger(value) && value >= min && value <= max ? value : fallback;
  }

  /** One of the allowed words of the query, else the fallback. */
  choice<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.query.get(name);
    return allowed.find((one) => one === value) ?? fallback;
  }
}

export const router = new Router();
