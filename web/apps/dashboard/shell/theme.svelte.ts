import { readTheme, setTheme, type Theme } from '$ui/theme';

/** The chosen theme as state, for menus that show it. */
class ThemeStore {
  value = $state<Theme>(readTheme());

  set(value: Theme): void {
    this.value = value;
    setTheme(value);
  }
}

export const theme = new ThemeStore();
