/**
 * Colour bars with a running clock and a beep once a second that coincides with a flash, so that
 * delay, frame rate and lip sync can be judged by eye and ear.
 */
import { type CanvasSource, canvasSource, type Draw } from './canvas-source';
import { audioContext } from './level-meter';

export interface TestPattern {
  video: MediaStreamTrack;
  audio: MediaStreamTrack;
  stop: () => void;
}

const BARS = ['#c0c0c0', '#c0c000', '#00c0c0', '#00c000', '#c000c0', '#c00000', '#0000c0'];
const CASTELLATIONS = ['#0000c0', '#131313', '#c000c0', '#131313', '#00c0c0', '#131313', '#c0c0c0'];
const BEEP_HZ = 1000;
const BEEP_SECONDS = 0.08;

export function openTestPattern(width: number, height: number, frameRate: number): TestPattern {
  const started = performance.now();
  const picture = canvasSource(width, height, frameRate, drawPattern(started));
  const sound = beeps();
  return {
    video: picture.track,
    audio: sound.track,
    stop: () => {
      picture.stop();
      sound.stop();
    },
  };
}

/** A still, dark picture with one line of text: what viewers see while the camera is off. */
export function openSlate(width: number, height: number, text: string): CanvasSource {
  return canvasSource(width, height, 5, (context) => {
    context.fillStyle = '#18181b';
    context.fillRect(0, 0, width, height);
    context.fillStyle = '#a1a1aa';
    context.font = `500 ${Math.round(height / 18)}px system-ui, sans-serif`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(text, width / 2, height / 2);
  });
}

function drawPattern(started: number): Draw {
  let frame = 0;
  return (context, width, height) => {
    frame += 1;
    const barsHeight = Math.round(height * 0.67);
    const castleHeight = Math.round(height * 0.08);
    paintColumns(context, BARS, 0, barsHeight, width);
    paintColumns(context, CASTELLATIONS, barsHeight, castleHeight, width);
    const rampTop = barsHeight + castleHeight;
    const ramp = context.createLinearGradient(0, 0, width, 0);
    ramp.addColorStop(0, '#000');
    ramp.addColorStop(1, '#fff');
    context.fillStyle = ramp;
    context.fillRect(0, rampTop, width, height - rampTop);

    const now = Date.now();
    const phase = (now % 1000) / 1000;
    paintSweep(context, width, height, phase);
    paintClock(context, width, height, now, frame);
    if (phase < BEEP_SECONDS) paintFlash(context, width, height);
    const seconds = (performance.now() - started) / 1000;
    paintBall(context, width, height, seconds);
  };
}

function paintColumns(
  context: CanvasRenderingContext2D,
  colours: string[],
  top: number,
  height: number,
  width: number,
): void {
  const step = width / colours.length;
  colours.forEach((colour, index) => {
    context.fillStyle = colour;
    context.fillRect(Math.floor(index * step), top, Math.ceil(step), height);
  });
}

/** A hand that goes round once a second: shows missing frames. */
function paintSweep(context: CanvasRenderingContext2D, width: number, height: number, phase: number): void {
  const radius = height * 0.16;
  const [x, y] = [width / 2, height * 0.3];
  context.fillStyle = 'rgb(9 9 11 / 0.82)';
  context.beginPath();
  context.arc(x, y, radius * 1.12, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = '#818cf8';
  context.beginPath();
  context.moveTo(x, y);
  context.arc(x, y, radius, -Math.PI / 2, -Math.PI / 2 + phase * Math.PI * 2);
  context.closePath();
  context.fill();
}

function paintClock(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  now: number,
  frame: number,
): void {
  const size = Math.round(height * 0.09);
  const [x, y] = [width / 2, height * 0.57];
  context.fillStyle = 'rgb(9 9 11 / 0.82)';
  context.fillRect(x - size * 3.9, y - size * 0.9, size * 7.8, size * 2.15);
  context.fillStyle = '#fafafa';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.font = `600 ${size}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.fillText(new Date(now).toISOString().slice(11, 23), x, y);
  context.fillStyle = '#a1a1aa';
  context.font = `500 ${Math.round(size * 0.4)}px ui-monospace, "DejaVu Sans Mono", monospace`;
  context.fillText(`UTC · ${width}×${height} · ${frame}`, x, y + size * 0.85);
}

function paintFlash(context: CanvasRenderingContext2D, width: number, height: number): void {
  const edge = Math.round(height * 0.025);
  context.strokeStyle = '#fff';
  context.lineWidth = edge;
  context.strokeRect(edge / 2, edge / 2, width - edge, height - edge);
}

function paintBall(context: CanvasRenderingContext2D, width: number, height: number, seconds: number): void {
  const radius = height * 0.035;
  const travel = width - 2 * radius;
  const position = Math.abs(((seconds * 0.25) % 2) - 1) * travel + radius;
  context.fillStyle = '#4f46e5';
  context.beginPath();
  context.arc(position, height * 0.88, radius, 0, Math.PI * 2);
  context.fill();
}

function beeps(): { track: MediaStreamTrack; stop: () => void } {
  const context = audioContext();
  const gain = new GainNode(context, { gain: 0 });
  const tone = new OscillatorNode(context, { frequency: BEEP_HZ });
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
  tone.connect(gain).connect(out);
  tone.start();
  let next = 0;
  const schedule = () => {
    // Beeps start at whole seconds of the clock that the picture shows.
    for (const now = Date.now(); next < now + 2500; next += 1000) {
      next = Math.max(next, Math.ceil(now / 1000) * 1000);
      const at = context.currentTime + (next - now) / 1000;
      gain.gain.setValueAtTime(0.25, at);
      gain.gain.setValueAtTime(0, at + BEEP_SECONDS);
    }
  };
  schedule();
  const timer = setInterval(schedule, 500);
  const [track] = out.stream.getAudioTracks();
  if (!track) throw new Error('This browser cannot capture a tone.');
  const stop = () => {
    clearInterval(timer);
    tone.stop();
    tone.disconnect();
    track.stop();
  };
  return { track, stop };
}
