/** Class names of tables, so that every list looks the same. */
export const table = {
  /** Around the table: a panel that scrolls sideways on narrow windows. */
  wrap: 'min-w-0 rounded-panel border border-line bg-surface',
  table: 'w-full border-separate border-spacing-0 text-left',
  head: 'sticky top-14 z-10 border-b border-line bg-surface px-4 py-2.5 text-[13px] font-medium text-ink-2 whitespace-nowrap first:rounded-tl-panel last:rounded-tr-panel md:top-0',
  /** The head of a table that scrolls sideways in a box of its own, where nothing can be sticky. */
  headPlain: 'border-b border-line px-4 py-2.5 text-[13px] font-medium text-ink-2 whitespace-nowrap',
  row: 'group/row transition-colors hover:bg-surface-2/60',
  cell: 'border-b border-line px-4 py-2.5 align-middle group-last/row:border-b-0',
};
