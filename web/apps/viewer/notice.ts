/** What is shown over the picture when there is none: waiting, a problem, or nothing. */
import { SignallingError } from '$media/signalling';
import { el } from './dom';
import { strings } from './strings';

export interface Problem {
  title: string;
  text: string;
  detail: string | null;
}

/** What went wrong, in words; the server's own are kept as detail. */
export function problemOf(ending: Error): Problem {
  const { problems } = strings;
  if (!(ending instanceof SignallingError)) {
    const missing = typeof RTCPeerConnection === 'undefined';
    return { ...(missing ? problems.unsupported : problems.other), detail: ending.message };
  }
  const byStatus: Record<number, { title: string; text: string }> = {
    401: problems.token,
    403: problems.token,
    404: problems.notFound,
    406: problems.codec,
  };
  return { ...(byStatus[ending.status] ?? problems.other), detail: ending.message };
}

/** A card in the middle: the stream's name, a line, and what may follow. */
export class Notice {
  readonly element: HTMLElement;
  readonly #title = el('h2');
  readonly #text = el('p');
  readonly #name = el('p', { class: 'name' });
  readonly #more = el('div', { class: 'more' });
  readonly #retry: (() => void) | null;

  constructor(streamName: string, image: string | null, retry: (() => void) | null) {
    this.#retry = retry;
    this.#name.textContent = streamName;
    const card = el('div', { class: 'card' }, this.#name, this.#title, this.#text, this.#more);
    this.element = el('div', { class: 'notice', hidden: true }, card);
    if (image) {
      const poster = el('img', { class: 'poster', src: image, alt: '', referrerpolicy: 'no-referrer' });
      poster.addEventListener('error', () => poster.remove());
      this.element.prepend(poster);
    }
  }

  waiting(seenBefore: boolean): void {
    const { waiting, startsByItself, paused, resumesByItself } = strings;
    const fresh = this.#show(
      'waiting',
      seenBefore ? paused : waiting,
      seenBefore ? resumesByItself : startsByItself,
    );
    if (!fresh) return;
    this.#more.replaceChildren(
      el('span', { class: 'dots', 'aria-hidden': 'true' }, el('i'), el('i'), el('i')),
    );
  }

  problem({ title, text, detail }: Problem): void {
    if (!this.#show('problem', title, text)) return;
    const again = el('button', { type: 'button', class: 'retry', 'data-testid': 'retry' }, strings.retry);
    if (this.#retry) again.addEventListener('click', this.#retry);
    this.#more.replaceChildren(...(this.#retry ? [again] : []));
    if (detail)
      this.#more.append(el('details', {}, el('summary', {}, strings.detail), el('code', {}, detail)));
  }

  hide(): void {
    this.element.hidden = true;
    this.element.removeAttribute('data-testid');
  }

  /** False when the same is shown already: what moves on the card then goes on moving. */
  #show(testid: string, title: string, text: string): boolean {
    const same = !this.element.hidden && this.#title.textContent === title;
    this.element.hidden = false;
    this.element.setAttribute('data-testid', testid);
    this.#title.textContent = title;
    this.#text.textContent = text;
    return !same;
  }
}
