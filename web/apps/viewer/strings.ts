/** Every word of the viewer, in one place so that it can be translated. */
export const strings = {
  title: (stream: string) => `${stream} · Stagecast`,
  viewer: 'Stagecast viewer',
  player: (stream: string) => `Live video: ${stream}`,
  live: 'LIVE',
  notLive: 'NOT LIVE',
  viewers: (count: number) => (count === 1 ? '1 viewer' : `${count.toLocaleString('en')} viewers`),
  play: 'Play (space)',
  pause: 'Pause (space)',
  mute: 'Mute (m)',
  unmute: 'Unmute (m)',
  volume: 'Volume',
  tapToUnmute: 'Tap to unmute',
  pip: 'Picture in picture',
  fullscreen: 'Full screen (f)',
  exitFullscreen: 'Exit full screen (f)',
  stats: 'Statistics (i)',
  quality: 'Quality',
  auto: 'Auto',
  closeStats: 'Close statistics',
  waiting: 'Waiting for the stream',
  startsByItself: 'It starts by itself as soon as the broadcast begins.',
  paused: 'The broadcast has stopped',
  resumesByItself: 'If it goes on, it plays here by itself.',
  connecting: 'Connecting',
  reconnecting: 'Connection lost. Reconnecting…',
  seek: 'Seek',
  goLive: 'Go live',
  behind: (seconds: number) => {
    const whole = Math.floor(seconds);
    const two = (value: number) => String(value).padStart(2, '0');
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const start = hours > 0 ? `${hours}:${two(minutes)}` : minutes;
    return `-${start}:${two(whole % 60)}`;
  },
  soundOnly: 'Sound only',
  retry: 'Try again',
  detail: 'Technical detail',
  problems: {
    noStream: {
      title: 'No stream is named',
      text: 'The address needs a stream, like /viewer?streamId=ACCOUNT/STREAM. Ask for the link again.',
    },
    token: {
      title: 'This stream is private',
      text: 'It plays only with a valid link. Ask whoever shared it for a new one: this one has no token, or its token has expired.',
    },
    notFound: {
      title: 'There is no such stream',
      text: 'The account or the stream in the address does not exist. Check the link.',
    },
    codec: {
      title: 'This browser cannot play the stream',
      text: 'The stream uses a video format that this browser cannot decode. Try a current Chrome, Edge or Safari.',
    },
    unsupported: {
      title: 'This browser cannot play live video',
      text: 'It has no WebRTC, or WebRTC is switched off. Try another browser.',
    },
    other: {
      title: 'The stream cannot be played',
      text: 'The server refused to play it. Try again in a moment.',
    },
  },
  figures: {
    latency: 'Latency',
    resolution: 'Resolution',
    fps: 'Frame rate',
    video: 'Video',
    audio: 'Audio',
    loss: 'Packet loss',
    jitter: 'Jitter',
    rtt: 'Round trip',
    buffer: 'Buffer',
    dropped: 'Frames dropped',
    freezes: 'Freezes',
    transport: 'Transport',
  },
  comparesClocks: 'compares two clocks',
};
