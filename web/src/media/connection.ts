/**
 * One peer connection and its signalling session, from offer to end. Media loss is first answered by
 * one ICE restart; when that does not help, the connection says `lost` once and is over. Coming back
 * with a new connection is `keepConnected`'s duty (reconnect.ts).
 */
import { Emitter } from './emitter';
import { iceCredentials, isIceLite } from './sdp';
import { restartedAnswer, type Trickled, writeFragment } from './sdpfrag';
import { SignallingSession } from './signalling';

/** Why a connection is over. */
export type LostReason =
  /** Checks never got through: a firewall, or a wrong advertised address. */
  | 'unreachable'
  /** It worked and then the network went. */
  | 'network'
  /** The server closed it. */
  | 'closed';

export interface ConnectionOptions {
  endpoint: string;
  token: string | null;
  iceServers?: RTCIceServer[];
  /** Adds transceivers and tracks before the offer is made. */
  prepare: (peer: RTCPeerConnection) => void;
  /** Changes the offer before it is sent and applied. */
  offer?: (sdp: string) => string;
  /** Changes the answer before it is applied. */
  answer?: (sdp: string) => string;
  signal?: AbortSignal;
}

interface ConnectionEvents {
  connected: undefined;
  /** Media stopped flowing; an ICE restart is under way. */
  faltering: undefined;
  lost: LostReason;
}

const CONNECT_MS = 12_000;
const FALTER_MS = 1_500;
const RESTART_MS = 6_000;
const DELETE_MS = 500;

export class Connection extends Emitter<ConnectionEvents> {
  readonly peer: RTCPeerConnection;
  readonly session: SignallingSession;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #candidates: Trickled[] = [];
  #flush: ReturnType<typeof setTimeout> | undefined;
  #restarting = false;
  #connectedOnce = false;
  #over = false;
  readonly #trickles: boolean;

  private constructor(peer: RTCPeerConnection, session: SignallingSession, trickles: boolean) {
    super();
    this.peer = peer;
    this.session = session;
    this.#trickles = trickles;
  }

  /**
   * Offers, and returns as soon as the answer is applied. Throws `SignallingError`, or what the
   * browser says about a description it cannot use; nothing is left open then.
   */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const config: RTCConfiguration = {
      bundlePolicy: 'max-bundle',
      iceServers: options.iceServers ?? [],
    };
    const peer = new RTCPeerConnection(config);
    let session: SignallingSession | null = null;
    try {
      options.prepare(peer);
      const { sdp: plain = '' } = await peer.createOffer();
      const offer = options.offer?.(plain) ?? plain;
      const created = await SignallingSession.create(options.endpoint, offer, options.token, options.signal);
      session = created.session;
      // The offer is applied only now, so that gathering begins with the servers the answer names.
      if (session.iceServers.length > 0)
        peer.setConfiguration({
          ...config,
          iceServers: [...(config.iceServers ?? []), ...session.iceServers],
        });
      const answer = options.answer?.(created.answer) ?? created.answer;
      const connection = new Connection(peer, session, !isIceLite(answer));
      connection.#watch();
      await peer.setLocalDescription({ type: 'offer', sdp: offer });
      await peer.setRemoteDescription({ type: 'answer', sdp: answer });
      options.signal?.throwIfAborted();
      return connection;
    } catch (error) {
      peer.close();
      void session?.end();
      throw error;
    }
  }

  /** True from the first time media could flow. */
  get connectedOnce(): boolean {
    return this.#connectedOnce;
  }

  /** Gives the connection up: `lost` follows. For a caller that sees no media arrive. */
  fail(reason: LostReason): void {
    this.#lose(reason);
  }

  /**
   * Ends both halves; no event follows. The server hears DELETE before the transport closes: else it
   * would end the session by itself and have nothing left to delete.
   */
  async close(): Promise<void> {
    this.#release();
    await Promise.race([this.session.end(), new Promise((resolve) => setTimeout(resolve, DELETE_MS))]);
    this.peer.close();
  }

  #watch(): void {
    this.#after(CONNECT_MS, () => this.#lose('unreachable'));
    this.peer.addEventListener('connectionstatechange', () => this.#onState());
    this.peer.addEventListener('icecandidate', ({ candidate }) => this.#onCandidate(candidate));
  }

  #onState(): void {
    if (this.#over) return;
    switch (this.peer.connectionState) {
      case 'connected':
        this.#connectedOnce = true;
        this.#restarting = false;
        clearTimeout(this.#timer);
        this.#watchTransports();
        this.emit('connected', undefined);
        break;
      case 'disconnected':
        this.#after(FALTER_MS, () => this.#restart());
        break;
      case 'failed':
        if (this.#transports().some(({ state }) => state === 'closed')) this.#lose('closed');
        else if (this.#connectedOnce) void this.#restart();
        else this.#lose('unreachable');
        break;
      case 'closed':
        this.#lose('closed');
        break;
    }
  }

  #transports(): RTCDtlsTransport[] {
    const all = this.peer
      .getTransceivers()
      .map(({ sender, receiver }) => sender.transport ?? receiver.transport);
    return [...new Set(all.filter((transport) => transport !== null))];
  }

  #watchTransports(): void {
    for (const transport of this.#transports()) {
      transport.onstatechange = () => {
        if (transport.state === 'closed') this.#lose('closed');
      };
    }
  }

  async #restart(): Promise<void> {
    if (this.#over || this.#restarting) return;
    this.#restarting = true;
    this.emit('faltering', undefined);
    const reason = this.#connectedOnce ? 'network' : 'unreachable';
    this.#after(RESTART_MS, () => this.#lose(reason));
    try {
      const previous = this.peer.remoteDescription?.sdp ?? '';
      const { sdp = '' } = await this.peer.createOffer({ iceRestart: true });
      const fragment = await this.session.restart(writeFragment(sdp, [], false));
      const answer = restartedAnswer(previous, fragment);
      if (answer === null || this.#over) throw new Error('The server did not restart ICE.');
      this.#candidates = [];
      await this.peer.setLocalDescription({ type: 'offer', sdp });
      await this.peer.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch {
      // Old credentials may still come back to life, but a new session is surer and as fast.
      this.#lose(reason);
    }
  }

  #onCandidate(candidate: RTCIceCandidate | null): void {
    if (!this.#trickles || this.#over) return;
    if (candidate) this.#candidates.push({ candidate: candidate.candidate, mid: candidate.sdpMid });
    clearTimeout(this.#flush);
    const complete = candidate === null;
    this.#flush = setTimeout(() => this.#sendCandidates(complete), complete ? 0 : 50);
  }

  #sendCandidates(complete: boolean): void {
    const offer = this.peer.localDescription?.sdp ?? '';
    if (this.#over || !iceCredentials(offer)) return;
    const fragment = writeFragment(offer, this.#candidates.splice(0), complete);
    // Losing candidates is no reason to give up: the ones that arrived may do.
    this.session.trickle(fragment).catch(() => undefined);
  }

  #after(ms: number, action: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, ms);
  }

  #lose(reason: LostReason): void {
    if (this.#over) return;
    this.#release();
    this.peer.close();
    this.emit('lost', reason);
    if (reason !== 'closed') void this.session.end();
  }

  #release(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#flush);
  }
}
