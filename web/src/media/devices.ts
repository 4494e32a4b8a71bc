/**
 * Cameras, microphones and the screen: what there is, opening it with the wanted shape, and what went
 * wrong as a kind that an app puts into words.
 */

export type ProblemKind =
  /** The page is neither https nor localhost, so that the browser hides all devices. */
  | 'insecure'
  /** The person or the system said no. */
  | 'denied'
  | 'missing'
  /** Another program has it, or the driver failed. */
  | 'busy'
  /** The device cannot do what was asked; `constraint` names it. */
  | 'overconstrained'
  /** The person closed the screen picker: nothing to report. */
  | 'cancelled'
  | 'unknown';

export type DeviceKind = 'camera' | 'microphone' | 'screen';

export class DeviceError extends Error {
  override readonly name = 'DeviceError';

  constructor(
    readonly kind: ProblemKind,
    readonly device: DeviceKind,
    /** The browser's own words. */
    readonly detail: string,
    /** Which constraint failed, for `overconstrained`. */
    readonly constraint: string | null = null,
  ) {
    super(`${device}: ${kind}: ${detail}`);
  }
}

export interface Device {
  id: string;
  label: string;
}

export interface Devices {
  cameras: Device[];
  microphones: Device[];
}

/** The picture wanted from a camera or a screen. Null leaves it to the device. */
export interface PictureShape {
  width: number | null;
  height: number | null;
  frameRate: number | null;
}

export interface SoundShape {
  echoCancellation: boolean;
  stereo: boolean;
}

/** Whether this page may ask for devices at all. */
export function hasMediaDevices(): boolean {
  return typeof navigator !== 'undefined' && navigator.mediaDevices?.getUserMedia !== undefined;
}

/** Labels are empty until a permission was given: they are then named by number. */
export async function listDevices(): Promise<Devices> {
  if (!hasMediaDevices()) return { cameras: [], microphones: [] };
  const all = await navigator.mediaDevices.enumerateDevices();
  const pick = (kind: MediaDeviceKind, noun: string): Device[] =>
    all
      .filter((device) => device.kind === kind && device.deviceId !== '')
      .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `${noun} ${index + 1}` }));
  return { cameras: pick('videoinput', 'Camera'), microphones: pick('audioinput', 'Microphone') };
}

/** Opens a camera. A named device or exact size that is not there throws `overconstrained`. */
export async function openCamera(deviceId: string | null, shape: PictureShape): Promise<MediaStreamTrack> {
  const stream = await guarded('camera', () =>
    navigator.mediaDevices.getUserMedia({
      video: {
        ...exactly(deviceId),
        ...pictureConstraints(shape),
      },
    }),
  );
  return firstTrack(stream.getVideoTracks(), 'camera');
}

export async function openMicrophone(deviceId: string | null, shape: SoundShape): Promise<MediaStreamTrack> {
  const stream = await guarded('microphone', () =>
    navigator.mediaDevices.getUserMedia({
      audio: {
        ...exactly(deviceId),
        ...soundConstraints(shape),
      },
    }),
  );
  return firstTrack(stream.getAudioTracks(), 'microphone');
}

/** Both in one question to the person. Fails as a whole: open each on its own to see which it was. */
export async function openCameraAndMicrophone(
  cameraId: string | null,
  microphoneId: string | null,
  picture: PictureShape,
  sound: SoundShape,
): Promise<{ camera: MediaStreamTrack; microphone: MediaStreamTrack }> {
  const stream = await guarded('camera', () =>
    navigator.mediaDevices.getUserMedia({
      video: { ...exactly(cameraId), ...pictureConstraints(picture) },
      audio: { ...exactly(microphoneId), ...soundConstraints(sound) },
    }),
  );
  return {
    camera: firstTrack(stream.getVideoTracks(), 'camera'),
    microphone: firstTrack(stream.getAudioTracks(), 'microphone'),
  };
}

/** The screen, window or tab the person picks, with its sound where the browser gives it. */
export async function openScreen(
  frameRate: number | null,
): Promise<{ video: MediaStreamTrack; audio: MediaStreamTrack | null }> {
  const stream = await guarded('screen', () =>
    navigator.mediaDevices.getDisplayMedia({
      video: frameRate ? { frameRate: { ideal: frameRate } } : true,
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    }),
  );
  return {
    video: firstTrack(stream.getVideoTracks(), 'screen'),
    audio: stream.getAudioTracks()[0] ?? null,
  };
}

/** Changes size and frame rate of an open camera. Throws `overconstrained` and leaves it as it was. */
export async function reshape(track: MediaStreamTrack, shape: PictureShape): Promise<void> {
  await guarded('camera', () => track.applyConstraints(pictureConstraints(shape)));
}

export function stopTrack(track: MediaStreamTrack | null): void {
  track?.stop();
}

function exactly(deviceId: string | null): MediaTrackConstraints {
  return deviceId ? { deviceId: { exact: deviceId } } : {};
}

function pictureConstraints({ width, height, frameRate }: PictureShape): MediaTrackConstraints {
  return {
    // A floor turns a camera that has only smaller pictures into a clear error instead of a surprise.
    ...(width ? { width: { min: Math.min(width, 320), ideal: width } } : {}),
    ...(height ? { height: { exact: height } } : {}),
    ...(frameRate ? { frameRate: { ideal: frameRate } } : {}),
  };
}

function soundConstraints({ echoCancellation, stereo }: SoundShape): MediaTrackConstraints {
  return {
    // Voice processing is mono in every browser: stereo goes without all of it.
    echoCancellation: stereo ? false : echoCancellation,
    noiseSuppression: !stereo && echoCancellation,
    autoGainControl: !stereo && echoCancellation,
    channelCount: { ideal: stereo ? 2 : 1 },
  };
}

async function guarded<T>(device: DeviceKind, open: () => Promise<T>): Promise<T> {
  const supported =
    typeof navigator !== 'undefined' &&
    (device === 'screen' ? navigator.mediaDevices?.getDisplayMedia : navigator.mediaDevices?.getUserMedia);
  if (!supported) {
    const secure = typeof isSecureContext === 'boolean' && isSecureContext;
    throw new DeviceError(
      secure ? 'missing' : 'insecure',
      device,
      'navigator.mediaDevices is not available.',
    );
  }
  try {
    return await open();
  } catch (error) {
    throw deviceError(error, device);
  }
}

/** Sorts the browser's exception by what the person can do about it. */
export function deviceError(error: unknown, device: DeviceKind): DeviceError {
  if (error instanceof DeviceError) return error;
  const name = error instanceof Error ? error.name : '';
  const message = error instanceof Error ? error.message : String(error);
  const detail = [name, message].filter(Boolean).join(': ');
  const constraint =
    typeof error === 'object' && error !== null && 'constraint' in error ? String(error.constraint) : null;
  const kind: ProblemKind =
    (
      {
        NotAllowedError: device === 'screen' && !/system/i.test(message) ? 'cancelled' : 'denied',
        SecurityError: 'denied',
        NotFoundError: 'missing',
        DevicesNotFoundError: 'missing',
        NotReadableError: 'busy',
        TrackStartError: 'busy',
        AbortError: 'busy',
        OverconstrainedError: 'overconstrained',
      } as const
    )[name] ?? 'unknown';
  return new DeviceError(kind, device, detail, kind === 'overconstrained' ? constraint : null);
}

function firstTrack(tracks: MediaStreamTrack[], device: DeviceKind): MediaStreamTrack {
  const [track] = tracks;
  if (!track) throw new DeviceError('missing', device, 'The browser gave no track.');
  return track;
}
