/** The choice of quality in the control bar; there only when the stream has more than one. */
import { type LayerSelection, type Quality, qualityNamed } from '$media/layers';
import { el } from './dom';
import { strings } from './strings';

const AUTO = 'auto';

export class QualityMenu {
  readonly element = el('select', {
    class: 'quality',
    'aria-label': strings.quality,
    title: strings.quality,
    'data-testid': 'quality',
    hidden: true,
  });
  readonly #choose: (selection: LayerSelection | null) => void;
  #list: readonly Quality[] = [];
  #wanted: string;
  /** What the address asks for, until it has been found or the person has chosen. */
  #starting: string | null;

  constructor(starting: string | null, choose: (selection: LayerSelection | null) => void) {
    this.#choose = choose;
    this.#wanted = AUTO;
    this.#starting = starting;
    this.element.addEventListener('change', () => {
      this.#starting = null;
      this.#select(this.element.value);
    });
  }

  /** The qualities there are now. A chosen one that is gone for the moment stays chosen. */
  show(list: readonly Quality[]): void {
    this.#list = list;
    const labels = list.map(({ label }) => label);
    if (this.#wanted !== AUTO && !labels.includes(this.#wanted)) labels.push(this.#wanted);
    const wanted = [AUTO, ...labels];
    if (wanted.join() !== [...this.element.options].map(({ value }) => value).join())
      this.element.replaceChildren(
        ...wanted.map((value) => el('option', { value }, value === AUTO ? strings.auto : value)),
      );
    this.element.value = this.#wanted;
    this.element.hidden = list.length < 2;
    const starting = this.#starting === null ? undefined : qualityNamed(list, this.#starting);
    if (!starting) return;
    this.#starting = null;
    this.element.value = starting.label;
    this.#select(starting.label);
  }

  #select(label: string): void {
    this.#wanted = label;
    this.#choose(this.#list.find((quality) => quality.label === label)?.selection ?? null);
  }
}
