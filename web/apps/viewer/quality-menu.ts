/** The choice of quality in the control bar; there only when the stream has more than one. */
import { type LayerSelection, type Quality, qualityNamed } from '$media/layers';
import { formatBitrate } from '$ui/format';
import { el } from './dom';
import { icons } from './icons';
import { strings } from './strings';

const AUTO = 'auto';

export class QualityMenu {
  readonly element: HTMLElement;
  /** Over what the bar shows, and not seen itself: its list says more than the bar has room for. */
  readonly select = el('select', {
    'aria-label': strings.quality,
    title: strings.quality,
    'data-testid': 'quality',
    hidden: true,
  });
  readonly #shown = el('span', { 'aria-hidden': 'true' }, strings.auto);
  readonly #choose: (selection: LayerSelection | null) => void;
  #list: readonly Quality[] = [];
  #wanted: string;
  /** What the address asks for, until the person has chosen. */
  #starting: string | null;

  constructor(starting: string | null, choose: (selection: LayerSelection | null) => void) {
    this.#choose = choose;
    this.#wanted = AUTO;
    this.#starting = starting;
    this.element = el('div', { class: 'quality', hidden: true }, this.#shown, this.select);
    this.#shown.insertAdjacentHTML('afterend', icons.down);
    this.select.addEventListener('change', () => {
      this.#starting = null;
      this.#select(this.select.value);
    });
  }

  /** The qualities there are now. A chosen one that is gone for the moment stays chosen. */
  show(list: readonly Quality[]): void {
    this.#list = list;
    const texts = new Map([[AUTO, strings.auto], ...list.map((one) => [one.label, textOf(one)] as const)]);
    if (!texts.has(this.#wanted)) texts.set(this.#wanted, this.#wanted);
    const shown = [...this.select.options].map(({ value, text }) => `${value} ${text}`);
    if (shown.join() !== [...texts].map(([value, text]) => `${value} ${text}`).join())
      this.select.replaceChildren(...[...texts].map(([value, text]) => el('option', { value }, text)));
    this.#mark();
    this.element.hidden = this.select.hidden = list.length < 2;
    // Looked for in every list: the first one may lack layers that are only just beginning.
    const starting = this.#starting === null ? undefined : qualityNamed(list, this.#starting);
    if (starting && starting.label !== this.#wanted) this.#select(starting.label);
  }

  /** The stream plays by another way, which names its qualities itself: what was chosen is looked for there. */
  seekAgain(): void {
    if (this.#wanted === AUTO) return;
    this.#starting = this.#wanted;
    this.#wanted = AUTO;
  }

  #mark(): void {
    this.select.value = this.#wanted;
    this.#shown.textContent = this.#wanted === AUTO ? strings.auto : this.#wanted;
  }

  #select(label: string): void {
    this.#wanted = label;
    this.#mark();
    this.#choose(this.#list.find((quality) => quality.label === label)?.selection ?? null);
  }
}

function textOf({ label, bitrate }: Quality): string {
  return bitrate ? `${label} · ${formatBitrate(bitrate)}` : label;
}
