/** Listens to the microphone: its level for the meter, and whether it has been silent for too long. */
import { LevelMeter, SILENCE_DB } from '$media/level-meter';
import type { Inputs } from './inputs.svelte';

const LOOK_MS = 200;
const LASTING_MS = 4_000;

export class Silence {
  /** Silent for some seconds though switched on. */
  lasting = $state(false);
  #since: number | null = null;

  constructor(inputs: Inputs) {
    $effect(() => {
      const track = inputs.microphone;
      this.lasting = false;
      this.#since = null;
      if (!track) return;
      const meter = new LevelMeter(track);
      const timer = setInterval(() => this.#look(meter, inputs.muted), LOOK_MS);
      return () => {
        clearInterval(timer);
        meter.close();
      };
    });
  }

  #look(meter: LevelMeter, muted: boolean): void {
    if (muted || !meter.running || meter.read() > SILENCE_DB) {
      this.#since = null;
      this.lasting = false;
      return;
    }
    this.#since ??= performance.now();
    this.lasting = performance.now() - this.#since > LASTING_MS;
  }
}
