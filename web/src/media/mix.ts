/** Several audio tracks as one, for a microphone beside the sound of a shared tab. */
import { audioContext } from './level-meter';

export interface Mixed {
  track: MediaStreamTrack;
  close: () => void;
}

export function mixTracks(tracks: MediaStreamTrack[]): Mixed {
  const context = audioContext();
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
  const sources = tracks.map((track) => context.createMediaStreamSource(new MediaStream([track])));
  for (const source of sources) source.connect(out);
  const [track] = out.stream.getAudioTracks();
  if (!track) throw new Error('This browser cannot mix audio.');
  const close = () => {
    for (const source of sources) source.disconnect();
    track.stop();
  };
  return { track, close };
}
