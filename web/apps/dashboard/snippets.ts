/**
 * Ready-made settings with the real addresses filled in. Values are quoted for a POSIX shell, for HTML
 * or for JavaScript, whichever the snippet is, so that odd stream names stay harmless.
 */

export function shellQuote(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function htmlEscape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('"', '&quot;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}

function join(base: string, ...parts: string[]): string {
  return [base.replace(/\/+$/, ''), ...parts.map(encodeURIComponent)].join('/');
}

export interface Endpoints {
  /** Absolute base addresses: of WHIP, of this account's WHEP, and of the hosted viewer. */
  whipUrl: string;
  whepUrl: string;
  viewerUrl: string;
  accountId: string;
}

export function whipUrl(endpoints: Endpoints, stream: string): string {
  return join(endpoints.whipUrl, stream);
}

export function whepUrl(endpoints: Endpoints, stream: string): string {
  return join(endpoints.whepUrl, stream);
}

/** Link of the hosted player; `token` is a subscribe token, for streams that need one. */
export function viewerUrl(endpoints: Endpoints, stream: string, token?: string): string {
  // The slash between account and stream stays readable; both sides are escaped on their own.
  const id = `${encodeURIComponent(endpoints.accountId)}/${encodeURIComponent(stream)}`;
  return `${endpoints.viewerUrl}?streamId=${id}${token ? `&token=${encodeURIComponent(token)}` : ''}`;
}

export function broadcasterUrl(tokenId: number, stream: string): string {
  return `/broadcaster?tokenId=${tokenId}&stream=${encodeURIComponent(stream)}`;
}

export function iframeCode(playerUrl: string): string {
  return `<iframe src="${htmlEscape(playerUrl)}" width="640" height="360"
  allow="autoplay; fullscreen; picture-in-picture" allowfullscreen
  style="border: 0"></iframe>`;
}

export interface Snippet {
  id: string;
  label: string;
  /** One line on what to do with it. */
  note: string;
  code: string;
}

export function publishSnippets(url: string, token: string): Snippet[] {
  const to = shellQuote(url);
  const auth = shellQuote(token);
  return [
    {
      id: 'ffmpeg',
      label: 'ffmpeg',
      note: 'A file in a loop, with ffmpeg 8 or newer. B-frames must be off: WebRTC has none.',
      code: `ffmpeg -re -stream_loop -1 -i input.mp4 \\
  -c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -g 60 -b:v 2500k \\
  -c:a libopus -ar 48000 -ac 2 -b:a 128k \\
  -f whip -authorization ${auth} \\
  ${to}`,
    },
    {
      id: 'stagecast',
      label: 'stagecast',
      note: 'A test picture and tone from this server’s own command, to try the way without a camera.',
      code: `stagecast publish --test-pattern \\
  --to ${to} \\
  --token ${auth}`,
    },
    {
      id: 'gstreamer',
      label: 'GStreamer',
      note: 'A test picture and tone. whipclientsink is part of gst-plugins-rs.',
      code: `gst-launch-1.0 \\
  whipclientsink name=out \\
    signaller::whip-endpoint=${to} \\
    signaller::auth-token=${auth} \\
  videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! out. \\
  audiotestsrc is-live=true wave=ticks ! audioconvert ! out.`,
    },
    {
      id: 'curl',
      label: 'curl',
      note: 'What every WHIP client sends: an SDP offer. The answer is 201 with the SDP answer and a Location to delete.',
      code: `curl -i -X POST \\
  -H 'Authorization: Bearer ${token}' \\
  -H 'Content-Type: application/sdp' \\
  --data-binary @offer.sdp \\
  ${to}`,
    },
  ];
}

/** Where a livestream is sent to. */
export interface Ingest {
  ingest_server: string;
  stream_key: string;
  srt_url: string | null;
  whip_url: string;
}

const TEST_PICTURE = `ffmpeg -re -f lavfi -i "testsrc=size=1280x720:rate=30 [out0]; sine=frequency=500 [out1]" \\
  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 -b:v 2500k \\`;

export function livestreamSnippets(to: Ingest, notes: Record<'rtmp' | 'srt' | 'whip', string>): Snippet[] {
  const snippets: Snippet[] = [
    {
      id: 'rtmp',
      label: 'ffmpeg RTMP',
      note: notes.rtmp,
      code: `${TEST_PICTURE}
  -c:a aac -ar 48000 -b:a 128k \\
  -f flv ${shellQuote(to.ingest_server + to.stream_key)}`,
    },
  ];
  if (to.srt_url) {
    snippets.push({
      id: 'srt',
      label: 'ffmpeg SRT',
      note: notes.srt,
      code: `${TEST_PICTURE}
  -c:a aac -ar 48000 -b:a 128k \\
  -f mpegts ${shellQuote(`${to.srt_url}&latency=200000`)}`,
    });
  }
  snippets.push({
    id: 'whip',
    label: 'ffmpeg WHIP',
    note: notes.whip,
    code: `${TEST_PICTURE}
  -profile:v baseline -c:a libopus -ar 48000 -ac 2 -b:a 128k \\
  -f whip -authorization ${shellQuote(to.stream_key)} \\
  ${shellQuote(to.whip_url)}`,
  });
  return snippets;
}

/** A first call with an API token: the livestreams of an app. */
export function livestreamsCall(publicUrl: string, accountId: string, appId: string, token: string): string {
  const url = `${publicUrl}/client/v4/accounts/${accountId}/realtime/kit/${appId}/livestreams`;
  return `curl ${shellQuote(url)} \\
  -H 'Content-Type: application/json' \\
  -H 'Authorization: Bearer ${token}' \\
  -d '{"name": "test_livestream"}'`;
}

export function playSnippets(url: string, playerUrl: string, token?: string): Snippet[] {
  const to = shellQuote(url);
  return [
    {
      id: 'iframe',
      label: 'Web page',
      note: 'The hosted player in a page of yours. It waits by itself until the stream is live.',
      code: iframeCode(playerUrl),
    },
    {
      id: 'gstreamer',
      label: 'GStreamer',
      note: 'Plays in a window. whepsrc is part of gst-plugins-rs.',
      code: `gst-launch-1.0 whepsrc name=in \\
  whep-endpoint=${to}${token ? ` \\\n  auth-token=${shellQuote(token)}` : ''} \\
  in. ! application/x-rtp,media=video ! decodebin3 ! autovideosink`,
    },
    {
      id: 'stagecast',
      label: 'stagecast',
      note: 'Prints bitrate, frame rate and loss as a headless viewer.',
      code: `stagecast watch ${to}${token ? ` \\\n  --token ${shellQuote(token)}` : ''}`,
    },
    {
      id: 'curl',
      label: 'curl',
      note: 'What every WHEP player sends. 409 means that the stream is not live.',
      code: `curl -i -X POST \\
${token ? `  -H 'Authorization: Bearer ${token}' \\\n` : ''}  -H 'Content-Type: application/sdp' \\
  --data-binary @offer.sdp \\
  ${to}`,
    },
  ];
}

export function apiSnippets(apiUrl: string, tokenId: number, streamId: string | null): Snippet[] {
  const auth = `-H "Authorization: Bearer $STAGECAST_SECRET"`;
  const json = `-H 'Content-Type: application/json'`;
  const token = shellQuote(`${apiUrl}/publish_token/${tokenId}`);
  const snippets: Snippet[] = [
    {
      id: 'read',
      label: 'Read',
      note: 'Reads this token.',
      code: `curl ${auth} \\\n  ${token}`,
    },
    {
      id: 'disable',
      label: 'Disable',
      note: 'No new broadcast can start with it; a running one goes on.',
      code: `curl -X PUT ${auth} ${json} \\\n  -d '{"isActive": false}' \\\n  ${token}`,
    },
    {
      id: 'delete',
      label: 'Delete',
      note: 'Deletes this token and ends what is live with it.',
      code: `curl -X DELETE ${auth} \\\n  ${token}`,
    },
  ];
  if (streamId) {
    const body = shellQuote(JSON.stringify({ streamId }));
    snippets.push({
      id: 'stop',
      label: 'Stop',
      note: 'Ends the live stream; the token stays.',
      code: `curl -X POST ${auth} ${json} \\\n  -d ${body} \\\n  ${shellQuote(`${apiUrl}/stream/stop`)}`,
    });
  }
  return snippets;
}

/** How to sign a token for one viewer with a subscribe token as the key. */
export function jwtSnippet(tokenId: number, token: string, stream: string): string {
  return `import { SignJWT } from 'jose';

const viewerToken = await new SignJWT({
  streaming: {
    tokenId: ${tokenId},
    tokenType: 'Subscribe',
    streamName: ${JSON.stringify(stream)},
  },
})
  .setProtectedHeader({ alg: 'HS256' })
  .setIssuedAt()
  .setExpirationTime('1h')
  .sign(new TextEncoder().encode(${JSON.stringify(token)}));`;
}
