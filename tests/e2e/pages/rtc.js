/**
 * The smallest honest WHIP publisher and WHEP player, served from another origin than the server under test:
 * what a third party's page would do, so cross-origin rules are tested with it.
 */

const video = document.querySelector('#video');
let connection;
let resource;
let local;

/** The answer with the port of a relay on the same machine in its candidates; relays know UDP and IPv4 only. */
function detour(sdp, port) {
  const lines = sdp.split('\r\n').flatMap((line) => {
    if (!/^a=(candidate|end-of-candidates)/.test(line)) return [line];
    const [, before, after] = /^(.* udp \d+ [\d.]+) \d+ (.*)/.exec(line) ?? [];
    return before ? [`${before} ${port} ${after}`] : [];
  });
  return lines.join('\r\n');
}

/** Simulcast as the Millicast SDK asks for it: SSRCs of its own, in a SIM group, written into the offer. */
function withGroup(sdp) {
  const [, first] = /a=ssrc-group:FID (\d+) /.exec(sdp);
  const attributes = sdp.split('\r\n').filter((line) => line.startsWith(`a=ssrc:${first} `));
  const added = [100, 102].flatMap((ssrc) => [
    ...[ssrc, ssrc + 1].flatMap((one) => attributes.map((line) => line.replace(`:${first} `, `:${one} `))),
    `a=ssrc-group:FID ${ssrc} ${ssrc + 1}`,
  ]);
  return `${sdp}${[...added, `a=ssrc-group:SIM ${first} 100 102`].join('\r\n')}\r\n`;
}

/** AV1 with spatial layers is not decoded without this extension, which Chromium offers to send only. */
function withDependencies(sdp) {
  const uri = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';
  if (sdp.includes(uri)) return sdp;
  const used = new Set([...sdp.matchAll(/^a=extmap:(\d+)/gm)].map(([, id]) => Number(id)));
  const id = Array.from({ length: 14 }, (_, i) => i + 1).find((free) => !used.has(free));
  return sdp.replace(/(m=video[^]*?a=mid:[^\r]*\r\n)/, `$1a=extmap:${id} ${uri}\r\n`);
}

/** Encoders begin with what they are said to have, so that every layer is there at once. */
function generous(sdp) {
  const [, pt] = /m=video \d+ \S+ (\d+)/.exec(sdp) ?? [];
  if (!pt) return sdp;
  const line = `a=fmtp:${pt} `;
  const wish = 'x-google-start-bitrate=3000';
  if (sdp.includes(line)) return sdp.replace(line, `${line}${wish};`);
  return sdp.replace(new RegExp(`(a=rtpmap:${pt} .*\r\n)`), `$1${line}${wish}\r\n`);
}

/** The offer is sent at once, without candidates: an ICE-lite server learns them from the checks. */
async function signal(url, token, through, munge) {
  if (munge) {
    const offer = await connection.createOffer();
    await connection.setLocalDescription({ type: 'offer', sdp: munge(offer.sdp) });
  } else await connection.setLocalDescription();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp', ...(token && { Authorization: `Bearer ${token}` }) },
    body: connection.localDescription.sdp,
  });
  const body = await response.text();
  if (response.status !== 201) return { status: response.status, body };
  resource = new URL(response.headers.get('Location'), url).href;
  const sdp = token ? generous(body) : body;
  await connection.setRemoteDescription({ type: 'answer', sdp: through ? detour(sdp, through) : sdp });
  const [etag, link, warning] = ['ETag', 'Link', 'Warning'].map((name) => response.headers.get(name));
  return { status: 201, resource, etag, link, warning };
}

function prefer(transceiver, kind, codec) {
  const { codecs } = RTCRtpSender.getCapabilities(kind);
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `${kind}/${codec}`);
  const repair = codecs.filter(({ mimeType }) => /rtx|red|ulpfec/i.test(mimeType));
  transceiver.setCodecPreferences([...wanted, ...repair]);
}

window.publish = async (
  url,
  token,
  { codec, width = 640, height = 360, video: withVideo = true, audio = true, encodings, group },
) => {
  local = await navigator.mediaDevices.getUserMedia({
    audio,
    video: withVideo && { width: { exact: width }, height: { exact: height }, frameRate: 30 },
  });
  connection = new RTCPeerConnection();
  for (const track of local.getTracks()) {
    const sendEncodings = track.kind === 'video' ? encodings : undefined;
    const init = { direction: 'sendonly', streams: [local], ...(sendEncodings && { sendEncodings }) };
    const transceiver = connection.addTransceiver(track, init);
    if (track.kind === 'video' && codec) prefer(transceiver, 'video', codec);
  }
  const answer = await signal(url, token, undefined, group ? withGroup : undefined);
  if (group && answer.status === 201) {
    // Without restriction ids the sizes can only be said afterwards.
    const sender = connection.getSenders().find(({ track }) => track?.kind === 'video');
    const parameters = sender.getParameters();
    for (const [index, encoding] of parameters.encodings.entries()) Object.assign(encoding, group[index]);
    await sender.setParameters(parameters);
  }
  return answer;
};

/** For each encoding that is sent: its name and width, and the frames of it. */
window.sending = async () =>
  [...(await connection.getStats()).values()]
    .filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
    .map(({ rid, frameWidth, framesEncoded, active, bytesSent }) => ({
      rid,
      frameWidth,
      framesEncoded,
      active,
      bytesSent,
    }));

/** The names of the encodings of which more is sent within a second. */
window.flowing = async () => {
  const before = await sending();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await sending();
  const grown = ({ rid, bytesSent }) => bytesSent > before.find((layer) => layer.rid === rid)?.bytesSent;
  return after.filter(grown).map(({ rid }) => rid);
};

/** Leave out the encodings that nobody needs, as the server's events tell. */
window.obey = async () => {
  const created = await fetch(`${resource}/sse`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '["wantedlayers"]',
  });
  const source = new EventSource(new URL(created.headers.get('Location'), resource));
  source.addEventListener('wantedlayers', async ({ data }) => {
    const [{ unwanted }] = Object.values(JSON.parse(data).medias);
    const sender = connection.getSenders().find(({ track }) => track?.kind === 'video');
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.active = !unwanted.includes(encoding.rid);
    await sender.setParameters(parameters);
  });
  return created.status;
};

/** Ask for a layer; null is automatic. */
window.select = async (layer) => {
  const response = await fetch(`${resource}/layer`, {
    method: layer ? 'POST' : 'DELETE',
    ...(layer && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(layer) }),
  });
  return response.status;
};

/** The data of the next `layers` event. */
window.layers = async () => {
  const created = await fetch(`${resource}/sse`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '["layers"]',
  });
  const source = new EventSource(new URL(created.headers.get('Location'), resource));
  return new Promise((resolve) => {
    source.addEventListener('layers', ({ data }) => {
      source.close();
      resolve(JSON.parse(data));
    });
  });
};

window.watch = async (url, token, { through, dependencies } = {}) => {
  connection = new RTCPeerConnection();
  const stream = new MediaStream();
  connection.ontrack = ({ track }) => stream.addTrack(track);
  connection.addTransceiver('video', { direction: 'recvonly' });
  connection.addTransceiver('audio', { direction: 'recvonly' });
  const answer = await signal(url, token, through, dependencies ? withDependencies : undefined);
  if (answer.status === 201) {
    video.srcObject = stream;
    video.play().catch(() => {});
  }
  return answer;
};

/** Leave as a crashed page does: the resource is not deleted and the peer connection just stops. */
window.vanish = () => {
  for (const track of local?.getTracks() ?? []) track.stop();
  connection.close();
};

window.leave = async () => {
  const response = await fetch(resource, { method: 'DELETE' });
  window.vanish();
  return response.status;
};

/** One flat report of what is received or sent, and how it is protected. */
window.report = async () => {
  const found = { state: connection.connectionState, renegotiations: 0 };
  const stats = await connection.getStats();
  for (const entry of stats.values()) {
    const codec = stats.get(entry.codecId)?.mimeType ?? null;
    if (entry.type === 'inbound-rtp' || entry.type === 'outbound-rtp') {
      const { kind, framesDecoded, framesEncoded, frameWidth, frameHeight, packetsReceived, packetsLost } = entry;
      const { totalAudioEnergy, keyFramesDecoded, nackCount, pliCount, freezeCount, framesDropped } = entry;
      const { totalFreezesDuration, framesReceived, jitterBufferDelay, jitterBufferEmittedCount } = entry;
      found[kind] = {
        codec: codec?.split('/')[1].toLowerCase() ?? null,
        framesDecoded,
        framesEncoded,
        width: frameWidth,
        height: frameHeight,
        packetsReceived,
        packetsLost,
        totalAudioEnergy,
        keyFramesDecoded,
        nackCount,
        pliCount,
        freezeCount,
        totalFreezesDuration,
        jitterBufferDelay,
        jitterBufferEmittedCount,
        framesDropped,
        framesReceived,
      };
    }
    if (entry.type === 'transport') {
      found.srtp = entry.srtpCipher;
      found.dtls = entry.dtlsState;
      found.role = entry.dtlsRole;
    }
    if (entry.type === 'candidate-pair' && entry.nominated) {
      const remote = stats.get(entry.remoteCandidateId);
      found.protocol = remote?.protocol;
      found.rtt = entry.currentRoundTripTime;
    }
  }
  return found;
};

/** The picture as a short list of brightness values; two calls differ when the picture moves. */
window.pixels = () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [32, 18];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0, 32, 18);
  const { data } = context.getImageData(0, 0, 32, 18);
  return Array.from({ length: 32 * 18 }, (_, i) => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3);
};
