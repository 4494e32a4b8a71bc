/**
 * What is captured: one audio and one video track, whatever they come from. Camera, screen, test
 * pattern and slate take each other's place as the video; the microphone, the tone of the pattern and
 * the sound of a shared tab are the audio. The broadcast only sees `audio` and `video`.
 */
import type { CanvasSource } from '$media/canvas-source';
import {
  DeviceError,
  type DeviceKind,
  type Devices,
  hasMediaDevices,
  listDevices,
  openCamera,
  openCameraAndMicrophone,
  openMicrophone,
  openScreen,
  reshape,
} from '$media/devices';
import { type Mixed, mixTracks } from '$media/mix';
import { openSlate, openTestPattern, type TestPattern } from '$media/test-pattern';
import { resolutionFor, sizeOf } from './presets';
import type { Settings } from './settings.svelte';
import { strings } from './strings';

export type Picture = 'camera' | 'screen' | 'pattern' | 'off';

/** A device problem and what was going on; `unplugged` when a working device went away. */
export interface InputProblem {
  error: DeviceError;
  unplugged: boolean;
  /** For a camera that cannot do what was asked: the height it gives instead. */
  actualHeight: number | null;
}

export class Inputs {
  devices = $state.raw<Devices>({ cameras: [], microphones: [] });
  picture = $state<Picture>('off');
  muted = $state(false);
  opening = $state(true);
  problem = $state.raw<InputProblem | null>(null);
  /** What goes out. Replaced, never changed in place. */
  video = $state.raw<MediaStreamTrack | null>(null);
  audio = $state.raw<MediaStreamTrack | null>(null);
  microphone = $state.raw<MediaStreamTrack | null>(null);

  readonly #settings: Settings;
  #camera: MediaStreamTrack | null = null;
  #screen: { video: MediaStreamTrack; audio: MediaStreamTrack | null } | null = null;
  #pattern: TestPattern | null = null;
  #slate: CanvasSource | null = null;
  #mixed: Mixed | null = null;
  /** What a stopped screen share or pattern gives way to. */
  #before: 'camera' | 'off' = 'camera';

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Asks for camera and microphone in one question, and takes what it gets. */
  async open(): Promise<void> {
    this.opening = true;
    this.problem = null;
    const { cameraId, microphoneId } = this.#settings;
    const shape = this.#shape();
    try {
      if (!hasMediaDevices())
        throw new DeviceError('insecure', 'camera', 'navigator.mediaDevices is missing.');
      const both = await openCameraAndMicrophone(cameraId, microphoneId, shape, this.#sound());
      this.#setCamera(both.camera);
      this.#setMicrophone(both.microphone);
    } catch (error) {
      const first = error as DeviceError;
      if (first.kind === 'insecure' || first.kind === 'denied') this.#report(first);
      else await this.#openEach();
    }
    await this.refresh();
    this.#usePicture(this.#camera ? 'camera' : 'off');
    this.opening = false;
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.refresh());
  }

  async refresh(): Promise<void> {
    this.devices = await listDevices();
  }

  async chooseCamera(id: string): Promise<void> {
    this.#settings.cameraId = id;
    this.#before = 'camera';
    await this.#reopenCamera();
  }

  async chooseMicrophone(id: string): Promise<void> {
    this.#settings.microphoneId = id;
    await this.reopenMicrophone();
  }

  /** Also called when echo cancellation or stereo changed: a track keeps what it was opened with. */
  async reopenMicrophone(): Promise<void> {
    const old = this.microphone;
    try {
      const track = await openMicrophone(this.#settings.microphoneId, this.#sound());
      old?.stop();
      this.#clearProblem('microphone');
      this.#setMicrophone(track);
    } catch (error) {
      this.#report(error as DeviceError);
    }
    await this.refresh();
  }

  async toggleCamera(): Promise<void> {
    if (this.picture === 'camera') {
      this.#before = 'off';
      this.#camera?.stop();
      this.#camera = null;
      this.#usePicture('off');
    } else {
      this.#before = 'camera';
      await this.#reopenCamera();
    }
  }

  /** Opens the camera again after a problem with it. */
  retryCamera(): Promise<void> {
    this.#before = 'camera';
    return this.#reopenCamera();
  }

  dismiss(): void {
    this.problem = null;
  }

  async toggleScreen(): Promise<void> {
    if (this.#screen) return this.#endScreen();
    try {
      const screen = await openScreen(this.#settings.frameRate);
      this.#endPattern();
      this.#screen = screen;
      screen.video.contentHint = 'detail';
      screen.video.addEventListener('ended', () => {
        if (this.#screen === screen) this.#endScreen();
      });
      this.#usePicture('screen');
      this.#updateAudio();
    } catch (error) {
      this.#report(error as DeviceError);
    }
  }

  togglePattern(): void {
    if (this.#pattern) {
      this.#endPattern();
      this.#usePicture(this.#before === 'camera' && this.#camera ? 'camera' : 'off');
      this.#updateAudio();
      return;
    }
    this.#screen?.video.stop();
    this.#screen?.audio?.stop();
    this.#screen = null;
    this.#openPattern();
    this.problem = null;
    this.#usePicture('pattern');
    this.#updateAudio();
  }

  setMuted(muted: boolean): void {
    this.muted = muted;
    this.#updateAudio();
  }

  /** Size or frame rate changed in the settings. */
  async reshape(): Promise<void> {
    if (this.picture === 'pattern') {
      this.#endPattern();
      this.#openPattern();
      this.#usePicture('pattern');
      this.#updateAudio();
    }
    if (this.#camera) await this.#reshapeCamera(this.#camera);
  }

  close(): void {
    for (const track of [this.#camera, this.microphone, this.#screen?.video, this.#screen?.audio])
      track?.stop();
    this.#endPattern();
    this.#slate?.stop();
    this.#mixed?.close();
  }

  /** Each device on its own, so that a missing camera does not cost the microphone. */
  async #openEach(): Promise<void> {
    const { cameraId, microphoneId } = this.#settings;
    try {
      const microphone = await openMicrophone(null, this.#sound());
      if (microphoneId) this.#settings.microphoneId = null;
      this.#setMicrophone(microphone);
    } catch (error) {
      this.#report(error as DeviceError);
    }
    try {
      // Without any wish about size: a remembered one may be of another camera.
      const camera = await openCamera(null, { width: null, height: null, frameRate: null });
      if (cameraId) this.#settings.cameraId = null;
      this.#setCamera(camera);
      await this.#reshapeCamera(camera);
    } catch (error) {
      this.#report(error as DeviceError);
    }
  }

  async #reopenCamera(): Promise<void> {
    // Some systems give a camera to one track at a time: the old one goes first.
    this.#camera?.stop();
    this.#camera = null;
    try {
      const anyShape = { width: null, height: null, frameRate: this.#settings.frameRate };
      const camera = await openCamera(this.#settings.cameraId, anyShape);
      this.#clearProblem('camera');
      this.#setCamera(camera);
      await this.#reshapeCamera(camera);
      if (this.picture === 'camera' || this.picture === 'off') this.#usePicture('camera');
    } catch (error) {
      this.#report(error as DeviceError);
      if (this.picture === 'camera') this.#usePicture('off');
    }
    await this.refresh();
  }

  async #reshapeCamera(camera: MediaStreamTrack): Promise<void> {
    try {
      await reshape(camera, this.#shape());
      this.#clearProblem('camera');
    } catch (error) {
      const { height = 0 } = camera.getSettings();
      this.problem = { error: error as DeviceError, unplugged: false, actualHeight: height };
      this.#settings.resolution = resolutionFor(height);
    }
  }

  #setCamera(track: MediaStreamTrack): void {
    track.contentHint = 'motion';
    track.addEventListener('ended', () => {
      if (this.#camera !== track) return;
      this.#camera = null;
      this.#report(new DeviceError('missing', 'camera', 'The track ended.'), true);
      if (this.picture === 'camera') this.#usePicture('off');
    });
    this.#camera = track;
    this.#settings.cameraId ??= track.getSettings().deviceId ?? null;
  }

  #setMicrophone(track: MediaStreamTrack): void {
    track.contentHint = this.#settings.stereo ? 'music' : 'speech';
    track.addEventListener('ended', () => {
      if (this.microphone !== track) return;
      this.microphone = null;
      this.#report(new DeviceError('missing', 'microphone', 'The track ended.'), true);
      this.#updateAudio();
    });
    this.microphone = track;
    this.#settings.microphoneId ??= track.getSettings().deviceId ?? null;
    this.#updateAudio();
  }

  #endScreen(): void {
    this.#screen?.video.stop();
    this.#screen?.audio?.stop();
    this.#screen = null;
    this.#usePicture(this.#before === 'camera' && this.#camera ? 'camera' : 'off');
    this.#updateAudio();
  }

  #openPattern(): void {
    const { width, height } = sizeOf(this.#settings.resolution);
    this.#pattern = openTestPattern(width, height, this.#settings.frameRate);
    this.#pattern.video.contentHint = 'motion';
  }

  #endPattern(): void {
    this.#pattern?.stop();
    this.#pattern = null;
  }

  #usePicture(picture: Picture): void {
    const slate = this.#slate;
    this.#slate = picture === 'off' ? openSlate(1280, 720, strings.slate) : null;
    this.picture = picture;
    this.video =
      {
        camera: this.#camera,
        screen: this.#screen?.video ?? null,
        pattern: this.#pattern?.video ?? null,
        off: this.#slate?.track ?? null,
      }[picture] ?? null;
    slate?.stop();
  }

  #updateAudio(): void {
    const old = this.#mixed;
    const base = this.#pattern?.audio ?? this.microphone;
    const screen = this.#screen?.audio ?? null;
    this.#mixed = base && screen ? mixTracks([base, screen]) : null;
    this.audio = this.#mixed?.track ?? base ?? screen;
    // Muting a mix would also mute the shared tab: the microphone is what is muted.
    if (base) base.enabled = !this.muted;
    if (this.#mixed) this.#mixed.track.enabled = true;
    old?.close();
  }

  #shape() {
    const { width, height } = sizeOf(this.#settings.resolution);
    return { width, height, frameRate: this.#settings.frameRate };
  }

  #sound() {
    const { echoCancellation, stereo } = this.#settings;
    return { echoCancellation, stereo };
  }

  #report(error: DeviceError, unplugged = false): void {
    if (error.kind !== 'cancelled') this.problem = { error, unplugged, actualHeight: null };
  }

  #clearProblem(device: DeviceKind): void {
    if (this.problem?.error.device === device) this.problem = null;
  }
}
