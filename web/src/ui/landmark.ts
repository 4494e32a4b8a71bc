/**
 * Where menus and other pop-ups are put: inside the page's main landmark, so that people who go through a
 * page by landmarks find them. Ask when the pop-up opens; the page may have changed.
 */
export function landmark(): Element {
  return document.querySelector('main') ?? document.body;
}
