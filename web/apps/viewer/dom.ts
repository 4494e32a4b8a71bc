/** Builds elements; text always goes in as text. Markup comes only from icons.ts. */
type Attributes = Record<string, string | boolean | undefined>;

export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A round button with an icon; its label is also its tooltip. */
export function iconButton(label: string, icon: string, testid: string, act: () => void): HTMLButtonElement {
  const button = el('button', { type: 'button', class: 'icon', 'data-testid': testid });
  setIcon(button, label, icon);
  button.addEventListener('click', act);
  return button;
}

export function setIcon(button: HTMLButtonElement, label: string, icon: string): void {
  if (button.title === label) return;
  button.title = label;
  button.setAttribute('aria-label', label);
  button.innerHTML = icon;
}
