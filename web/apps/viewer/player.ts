/**
 * `<stagecast-player>`: one live stream in one element. Owns the video element, the controls and what
 * is shown over the picture; media comes from `Whep`. Never scrolls the page and never takes focus.
 */
import { HlsFeed } from '$media/hls';
import { Whep, type WhepState } from '$media/whep';
import { el, iconButton, setIcon } from './dom';
import { falls, hlsAddress } from './fallback';
import { icons } from './icons';
import { IdleChrome } from './idle';
import { Notice, type Problem, problemOf } from './notice';
import type { Part, ViewerParams } from './params';
import css from './player.css?inline';
import { QualityMenu } from './quality-menu';
import { KEY_SECONDS, SeekBar } from './seek-bar';
import { StatsPanel } from './stats-panel';
import { strings } from './strings';
import { Volume } from './volume';

/** A paused player gives its connection back after this long; play opens a new one. */
const PAUSED_MS = 30_000;
const VOLUME_STEP = 0.05;

type FullscreenVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

export class StagecastPlayer extends HTMLElement {
  #player: Player | null = null;

  /** Starts playing; called once, when the element is in the page. */
  play(params: ViewerParams): void {
    this.#player ??= new Player(this, params);
  }

  /** Seconds from capture to display when it plays by HLS, else null. */
  get latency(): number | null {
    return this.#player?.latency ?? null;
  }

  /** Says why there is nothing to play. */
  refuse(problem: Problem): void {
    const notice = new Notice('', null, null);
    notice.problem(problem);
    draw(this, el('div', { class: 'player off bare' }, heading(strings.viewer), notice.element));
  }

  disconnectedCallback(): void {
    this.#player?.destroy();
    this.#player = null;
  }
}

function draw(host: HTMLElement, root: HTMLElement): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  const shadow = host.attachShadow({ mode: 'open' });
  shadow.adoptedStyleSheets = [sheet];
  shadow.append(root);
}

/** The page's heading, for screen readers. */
function heading(text: string): HTMLElement {
  return el('h1', { class: 'spoken' }, text);
}

class Player {
  readonly #params: ViewerParams;
  #feed: Whep | HlsFeed;
  readonly #seek: SeekBar;
  readonly #video = el('video', { playsinline: true, 'data-testid': 'player-video' });
  /** The last picture, kept while the connection is made anew. */
  readonly #still = el('canvas', { class: 'still', hidden: true });
  readonly #root: HTMLElement;
  readonly #volume: Volume;
  readonly #notice: Notice;
  readonly #stats: StatsPanel;
  readonly #quality: QualityMenu;
  readonly #chrome: IdleChrome;
  readonly #badge = el('span', { class: 'badge', 'data-testid': 'live-badge' }, strings.notLive);
  readonly #count = el('span');
  readonly #viewers = el('span', { class: 'viewers', 'data-testid': 'viewer-count', hidden: true });
  readonly #toast = el('p', { class: 'toast', role: 'status', hidden: true }, strings.reconnecting);
  readonly #spoken = el('p', { class: 'spoken', 'aria-live': 'polite' });
  readonly #unmute = el('button', { type: 'button', class: 'unmute', 'data-testid': 'unmute', hidden: true });
  readonly #start = el('button', {
    type: 'button',
    class: 'start',
    'aria-label': strings.play,
    hidden: true,
  });
  readonly #play: HTMLButtonElement;
  readonly #mute: HTMLButtonElement;
  readonly #slider = el('input', {
    type: 'range',
    min: '0',
    max: '1',
    step: '0.01',
    'aria-label': strings.volume,
    'data-testid': 'volume',
  });
  readonly #fullscreen: HTMLButtonElement;
  readonly #leave = new AbortController();
  /** The person wants it to play: true from autoplay or a press, false after pause. */
  #wanted: boolean;
  #seen = false;
  #pausedTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: HTMLElement, params: ViewerParams) {
    this.#params = params;
    const { streamName } = params;
    this.#feed = params.protocol === 'hls' ? this.#byHls() : this.#byWhep();
    this.#seek = new SeekBar(this.#video, () => (this.#feed instanceof HlsFeed ? this.#feed.seekable : null));
    this.#quality = new QualityMenu(params.startingQuality, (quality) => this.#feed.select(quality));
    this.#wanted = params.autoplay;
    // Before anything is drawn: the offer is on its way while the controls are built.
    this.#listen();
    if (this.#wanted) this.#feed.start();

    this.#volume = new Volume(this.#video, params.muted);
    this.#play = iconButton(strings.play, icons.play, 'play-button', () => this.#togglePlay());
    this.#mute = iconButton(strings.mute, icons.loud, 'mute-button', () => this.#volume.toggle());
    this.#fullscreen = iconButton(strings.fullscreen, icons.maximize, 'fullscreen', () =>
      this.#toggleFullscreen(),
    );
    this.#notice = new Notice(streamName, params.image, () => this.#feed.start());
    this.#stats = new StatsPanel(
      this.#video,
      () => this.#feed,
      () => this.#toggleStats(),
    );
    const top = this.#buildTop();
    const bar = this.#buildBar();
    this.#root = el('div', { class: 'player', role: 'region', 'aria-label': strings.player(streamName) });
    this.#root.append(
      heading(strings.player(streamName)),
      this.#video,
      this.#notice.element,
      this.#still,
      el('div', { class: 'sound', 'aria-hidden': 'true' }, strings.soundOnly),
      el('div', { class: 'spinner', 'aria-hidden': 'true' }),
    );
    this.#root.append(top, this.#toast, this.#stats.element, this.#start, this.#unmute, bar, this.#spoken);
    this.#root.classList.toggle('bare', !params.controls);
    this.#chrome = new IdleChrome(this.#root, [top, bar], () => this.#video.paused && this.#seen);
    this.#start.innerHTML = icons.play;
    this.#unmute.innerHTML = `${icons.muted}<span>${strings.tapToUnmute}</span>`;

    draw(host, this.#root);
    this.#wire();
    this.#render();
    this.#renderVolume();
  }

  get latency(): number | null {
    return this.#feed instanceof HlsFeed ? this.#feed.latency : null;
  }

  destroy(): void {
    this.#leave.abort();
    clearTimeout(this.#pausedTimer);
    this.#stats.show(false);
    this.#seek.destroy();
    void this.#feed.stop();
  }

  #buildTop(): HTMLElement {
    this.#viewers.innerHTML = icons.eye;
    this.#viewers.append(this.#count);
    const top = el('div', { class: 'top' });
    if (this.#has('liveBadge')) top.append(this.#badge);
    if (this.#has('userCount')) top.append(this.#viewers);
    return top;
  }

  #buildBar(): HTMLElement {
    const bar = el('div', { class: 'bar' });
    if (this.#has('play')) bar.append(this.#play);
    if (this.#has('volume')) bar.append(el('div', { class: 'volume' }, this.#mute, this.#slider));
    bar.append(this.#seek.element);
    if (this.#has('settings'))
      bar.append(
        this.#quality.element,
        iconButton(strings.stats, icons.stats, 'stats-button', () => this.#toggleStats()),
      );
    if (this.#has('pip') && document.pictureInPictureEnabled)
      bar.append(iconButton(strings.pip, icons.pip, 'pip', () => void this.#togglePip()));
    const canFill = document.fullscreenEnabled || 'webkitEnterFullscreen' in this.#video;
    if (this.#has('fullscreen') && canFill) bar.append(this.#fullscreen);
    return bar;
  }

  #has(part: Part): boolean {
    return !this.#params.hidden.has(part);
  }

  #byWhep(): Whep {
    const { accountId, streamName, token, sourceId } = this.#params;
    const path = [accountId, streamName].map(encodeURIComponent).join('/');
    return new Whep({ endpoint: `/api/whep/${path}`, token, sourceId });
  }

  #byHls(): HlsFeed {
    const { accountId, streamName, token } = this.#params;
    const address = () => hlsAddress(accountId, streamName);
    return new HlsFeed({ video: this.#video, address, token });
  }

  /** WebRTC does not work here: the same stream by HLS, a second later. */
  #fallBack(): void {
    const webrtc = this.#feed;
    this.#feed = this.#byHls();
    // What it says from now on counts no more, not even that it stops.
    void webrtc.stop();
    this.#video.srcObject = null;
    this.#quality.seekAgain();
    this.#listen();
    this.#feed.start();
  }

  #listen(): void {
    const feed = this.#feed;
    const ours = () => feed === this.#feed;
    feed.on('state', (state) => ours() && this.#onState(state));
    feed.on('live', () => this.#render());
    feed.on('qualities', (list) => ours() && this.#quality.show(list));
    if (feed instanceof HlsFeed) return;
    feed.on('stream', (stream) => {
      this.#video.srcObject = stream;
      void this.#tryToPlay();
    });
    feed.on('viewers', (viewers) => {
      this.#count.textContent = viewers.toLocaleString('en');
      this.#viewers.title = strings.viewers(viewers);
      this.#viewers.setAttribute('aria-label', strings.viewers(viewers));
      this.#viewers.hidden = false;
    });
  }

  #wire(): void {
    const { signal } = this.#leave;
    const video = this.#video;
    video.addEventListener('volumechange', () => this.#renderVolume());
    video.addEventListener('play', () => this.#render());
    video.addEventListener('pause', () => this.#render());
    video.addEventListener('resize', () => this.#render());
    video.addEventListener('playing', () => {
      this.#seen = true;
      this.#still.hidden = true;
      this.#render();
    });
    video.addEventListener('dblclick', () => this.#toggleFullscreen());
    video.addEventListener('click', (event) => {
      const touch = (event as PointerEvent).pointerType === 'touch';
      if (touch) this.#chrome.toggle();
      else if (this.#params.controls) this.#togglePlay();
    });
    this.#notice.element.addEventListener('click', () => this.#chrome.wake());
    this.#start.addEventListener('click', () => this.#togglePlay());
    this.#unmute.addEventListener('click', () => {
      video.muted = false;
      void this.#tryToPlay();
    });
    this.#slider.addEventListener('input', () => this.#volume.set(Number(this.#slider.value)));
    document.addEventListener('fullscreenchange', () => this.#renderFullscreen(), { signal });
    document.addEventListener('keydown', (event) => this.#onKey(event), { signal });
  }

  #onState(state: WhepState): void {
    if (this.#feed instanceof Whep && this.#params.protocol === null && falls(state)) {
      this.#fallBack();
      return;
    }
    if (this.#feed instanceof HlsFeed && state.name === 'playing') void this.#tryToPlay();
    if (state.name !== 'playing') this.#viewers.hidden = true;
    if (state.name === 'reconnecting') this.#keepPicture();
    else if (state.name !== 'connecting' && state.name !== 'playing') this.#still.hidden = true;
    // A source that is gone leaves its last picture standing; a waiting page is black.
    if (state.name === 'waiting' || state.name === 'ended') this.#video.srcObject = null;
    this.#render();
  }

  #keepPicture(): void {
    const { videoWidth, videoHeight } = this.#video;
    if (videoWidth === 0 || this.#video.readyState < 2 || !this.#still.hidden) return;
    this.#still.width = videoWidth;
    this.#still.height = videoHeight;
    this.#still.getContext('2d')?.drawImage(this.#video, 0, 0);
    this.#still.hidden = false;
  }

  /** Plays with sound if the browser lets it, else without and says so. */
  async #tryToPlay(): Promise<void> {
    if (!this.#wanted) return;
    try {
      await this.#video.play();
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'NotAllowedError') return;
      if (this.#video.muted) {
        this.#wanted = false;
      } else {
        this.#video.muted = true;
        this.#unmute.hidden = false;
        await this.#video.play().catch(() => {
          this.#wanted = false;
        });
      }
      this.#render();
    }
  }

  #togglePlay(): void {
    clearTimeout(this.#pausedTimer);
    if (this.#wanted && !this.#video.paused) {
      this.#wanted = false;
      this.#video.pause();
      // What can be sought back to waits for who paused it.
      if (!this.#seek.shown) this.#pausedTimer = setTimeout(() => void this.#feed.stop(), PAUSED_MS);
    } else {
      this.#wanted = true;
      this.#feed.start();
      void this.#tryToPlay();
    }
    this.#render();
  }

  #toggleStats(): void {
    this.#stats.show(!this.#stats.open);
    this.#chrome.wake();
  }

  async #togglePip(): Promise<void> {
    const on = document.pictureInPictureElement !== null;
    // Refused before the first frame, or by the page around an iframe: nothing to tell.
    await (on ? document.exitPictureInPicture() : this.#video.requestPictureInPicture()).catch(
      () => undefined,
    );
  }

  #toggleFullscreen(): void {
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (document.fullscreenEnabled) void this.#root.requestFullscreen().catch(() => undefined);
    else (this.#video as FullscreenVideo).webkitEnterFullscreen?.();
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#params.controls) return;
    const target = event.composedPath()[0];
    const onButton = target instanceof HTMLElement && /^(BUTTON|SUMMARY|INPUT|SELECT)$/.test(target.tagName);
    const actions: Record<string, () => void> = {
      ' ': () => this.#togglePlay(),
      k: () => this.#togglePlay(),
      m: () => this.#volume.toggle(),
      f: () => this.#toggleFullscreen(),
      i: () => this.#toggleStats(),
      ArrowLeft: () => this.#seek.by(-KEY_SECONDS),
      ArrowRight: () => this.#seek.by(KEY_SECONDS),
      ArrowUp: () => this.#volume.set(this.#volume.level + VOLUME_STEP),
      ArrowDown: () => this.#volume.set(this.#volume.level - VOLUME_STEP),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (event.key === 'Escape' && this.#stats.open) this.#toggleStats();
    if (!action || (onButton && (event.key === ' ' || event.key.startsWith('Arrow')))) return;
    event.preventDefault();
    this.#chrome.wake();
    action();
  }

  /** Draws everything that follows from the state; cheap enough to be called at every change. */
  #render(): void {
    if (!this.#root) return; // The offer is made before there is anything to draw.
    const { state, live } = this.#feed;
    const flowing = live && state.name === 'playing';
    const held = this.#seen && state.name === 'reconnecting';
    this.#badge.textContent = live ? strings.live : strings.notLive;
    this.#badge.classList.toggle('on', live);
    this.#toast.hidden = state.name !== 'reconnecting';
    if (state.name === 'ended') this.#notice.problem(problemOf(state.ending));
    else if (state.name === 'waiting' || (state.name === 'playing' && !live && this.#feed instanceof Whep))
      this.#notice.waiting(this.#seen); // By HLS there may be some left to play.
    else this.#notice.hide();
    const idle = !this.#wanted && (state.name === 'idle' || this.#video.paused);
    this.#start.hidden = !idle || !this.#notice.element.hidden;
    setIcon(
      this.#play,
      ...(idle ? ([strings.play, icons.play] as const) : ([strings.pause, icons.pause] as const)),
    );
    const searching = this.#wanted && this.#notice.element.hidden && !held;
    this.#root.classList.toggle('loading', searching && (this.#video.readyState < 2 || this.#video.paused));
    this.#root.classList.toggle('off', !this.#notice.element.hidden);
    this.#root.classList.toggle(
      'sound-only',
      flowing && this.#video.readyState > 0 && this.#video.videoWidth === 0,
    );
    const spoken = this.#notice.element.hidden ? (live ? strings.live : '') : strings.notLive;
    if (this.#spoken.textContent !== spoken) this.#spoken.textContent = spoken;
  }

  #renderVolume(): void {
    const { muted, level } = this.#volume;
    this.#slider.value = String(muted ? 0 : level);
    this.#slider.style.setProperty('--level', this.#slider.value);
    const icon = muted ? icons.muted : level < 0.5 ? icons.quiet : icons.loud;
    if (this.#mute.innerHTML !== icon) this.#mute.title = '';
    setIcon(this.#mute, muted ? strings.unmute : strings.mute, icon);
    if (!this.#video.muted) this.#unmute.hidden = true;
  }

  #renderFullscreen(): void {
    const on = document.fullscreenElement !== null;
    setIcon(
      this.#fullscreen,
      on ? strings.exitFullscreen : strings.fullscreen,
      on ? icons.minimize : icons.maximize,
    );
  }
}
