/**
 * Light or dark: follows the system until the person picks one, remembers the pick in this browser
 * and keeps other open tabs in step. Call `startTheme()` once, first thing, in every app.
 */
export type Theme = 'system' | 'light' | 'dark';

const KEY = 'stagecast.theme';

export function readTheme(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system'; // Storage is refused in some embedded pages.
  }
}

function apply(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function setTheme(theme: Theme): void {
  try {
    if (theme === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Not remembered, but still applied to this page.
  }
  apply(theme);
}

export function startTheme(): void {
  apply(readTheme());
  addEventListener('storage', (event) => {
    if (event.key === KEY || event.key === null) apply(readTheme());
  });
}
