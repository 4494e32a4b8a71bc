/** When the viewer plays by HLS instead, and where from. */
import { SignallingError } from '$media/signalling';
import type { WhepState } from '$media/whep';

/** Connections that were lost before one worked, after which WebRTC is given up. */
const ATTEMPTS = 3;
let lost = 0;

/** Whether WebRTC does not work here: no support, no common codec, or a network that lets nothing through. */
export function falls(state: WhepState): boolean {
  if (state.name === 'playing') lost = Number.NEGATIVE_INFINITY;
  // A network that let nothing through for so long will not do so soon.
  if (state.name === 'reconnecting' && state.cause === 'unreachable') lost += ATTEMPTS;
  else if (state.name === 'reconnecting' && !(state.cause instanceof SignallingError)) lost += 1;
  if (state.name !== 'ended') return lost >= ATTEMPTS;
  const { ending } = state;
  return !(ending instanceof SignallingError) || ending.status === 406;
}

/** The address of a stream's playlist; the server says where its HLS port is reached. */
export async function hlsAddress(accountId: string, streamName: string): Promise<string> {
  const response = await fetch('/viewer/playback.json');
  const { hls } = (await response.json()) as { hls: string };
  const path = [accountId, ...streamName.split('/')].map(encodeURIComponent).join('/');
  return `${hls}/${path}/manifest/video.m3u8`;
}
