/**
 * How loud an audio track is, for a meter and for "the microphone is silent". The owner asks as often
 * as it draws; nothing runs in between. All meters and tones of a page share one audio context.
 */

let shared: AudioContext | null = null;

/** The page's audio context. A browser that holds it back lets it go at the first click or key. */
export function audioContext(): AudioContext {
  if (!shared) {
    shared = new AudioContext({ latencyHint: 'interactive' });
    for (const gesture of ['pointerdown', 'keydown']) addEventListener(gesture, wake, { capture: true });
  }
  wake();
  return shared;
}

function wake(): void {
  if (shared?.state === 'suspended') void shared.resume().catch(() => undefined);
}

/** Below this a microphone that is switched on hears nothing at all, dBFS. */
export const SILENCE_DB = -62;
const FLOOR_DB = -100;

export class LevelMeter {
  readonly #source: MediaStreamAudioSourceNode;
  readonly #analyser: AnalyserNode;
  readonly #samples: Float32Array<ArrayBuffer>;

  constructor(track: MediaStreamTrack) {
    const context = audioContext();
    this.#analyser = new AnalyserNode(context, { fftSize: 1024, smoothingTimeConstant: 0 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }

  /** Whether levels are real: a browser may hold the audio context back until the first click. */
  get running(): boolean {
    return this.#analyser.context.state === 'running';
  }

  /** Root mean square of the last 20 ms or so, dBFS; -100 for silence. */
  read(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return decibels(this.#samples);
  }

  close(): void {
    this.#source.disconnect();
  }
}

export function decibels(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  return rms > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(rms)) : FLOOR_DB;
}

/** Where a level stands on a meter from -60 dBFS (0) to full scale (1). */
export function meterPosition(db: number): number {
  return Math.min(1, Math.max(0, (db + 60) / 60));
}
