/**
 * A video track that is drawn: the test pattern, and the slate shown while the camera is off. Goes on
 * at full rate when its tab is hidden, which `requestAnimationFrame` would not.
 */
export type Draw = (context: CanvasRenderingContext2D, width: number, height: number) => void;

export interface CanvasSource {
  track: MediaStreamTrack;
  stop: () => void;
}

export function canvasSource(width: number, height: number, frameRate: number, draw: Draw): CanvasSource {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { alpha: false });
  const [track] = canvas.captureStream(frameRate).getVideoTracks();
  if (!context || !track) throw new Error('This browser cannot capture a canvas.');
  const paint = () => draw(context, width, height);
  const ticker = new Worker(new URL('./ticker.worker.ts', import.meta.url), { type: 'module' });
  ticker.addEventListener('message', paint);
  ticker.postMessage(1000 / frameRate);
  paint();
  const stop = () => {
    ticker.terminate();
    track.stop();
  };
  return { track, stop };
}
