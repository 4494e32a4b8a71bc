/**
 * `application/trickle-ice-sdpfrag` bodies (RFC 8840 §9) as WHIP and WHEP exchange them in PATCH
 * (RFC 9725 §4.3): our candidates going out, the server's new credentials coming back from an ICE
 * restart, and that answer merged into the remote description.
 */
import { type IceCredentials, iceCredentials, sections } from './sdp';

export interface Trickled {
  /** `candidate:…` as `RTCIceCandidate.candidate` has it; empty strings are skipped. */
  candidate: string;
  mid: string | null;
}

/**
 * The fragment for some candidates of `offer`. Without candidates it carries the new credentials
 * alone, which is how an ICE restart begins.
 */
export function writeFragment(offer: string, candidates: Trickled[], complete: boolean): string {
  const credentials = iceCredentials(offer);
  const media = sections(offer)
    .slice(1)
    .map((section) => ({
      kind: /^m=(\w+)/.exec(section)?.[1] ?? 'audio',
      mid: /^a=mid:(\S+)/m.exec(section)?.[1] ?? '0',
    }));
  const lines: string[] = [];
  const bundle = /^a=group:BUNDLE [^\r\n]*/m.exec(offer)?.[0];
  if (bundle) lines.push(bundle);
  if (credentials) lines.push(`a=ice-ufrag:${credentials.ufrag}`, `a=ice-pwd:${credentials.pwd}`);
  // All media is bundled: candidates belong to the first section whatever mid they came with.
  const first = media[0];
  if (first) {
    lines.push(`m=${first.kind} 9 UDP/TLS/RTP/SAVPF 0`, `a=mid:${first.mid}`);
    if (credentials) lines.push(`a=ice-ufrag:${credentials.ufrag}`, `a=ice-pwd:${credentials.pwd}`);
    const seen = new Set<string>();
    for (const { candidate } of candidates) {
      if (candidate === '' || seen.has(candidate)) continue;
      seen.add(candidate);
      lines.push(`a=${candidate.replace(/^a=/, '')}`);
    }
    if (complete) lines.push('a=end-of-candidates');
  }
  return `${lines.join('\r\n')}\r\n`;
}

export interface Fragment {
  credentials: IceCredentials | null;
  /** Whole `a=candidate:…` lines. */
  candidates: string[];
  complete: boolean;
}

const MAX_CANDIDATES = 64;

/** Reads a fragment; unknown lines are skipped. */
export function readFragment(text: string): Fragment {
  const lines = text.split(/\r?\n/);
  return {
    credentials: iceCredentials(text),
    candidates: [...new Set(lines.filter((line) => line.startsWith('a=candidate:')))].slice(
      0,
      MAX_CANDIDATES,
    ),
    complete: lines.includes('a=end-of-candidates'),
  };
}

/**
 * The remote description after an ICE restart: the old answer with the fragment's credentials and
 * candidates. Null when the fragment carries no credentials, that is, when nothing was restarted.
 */
export function restartedAnswer(answer: string, fragment: string): string | null {
  const { credentials, candidates, complete } = readFragment(fragment);
  if (!credentials) return null;
  let first = true;
  return sections(answer)
    .map((section) => {
      const fresh = section
        .replace(/^(a=ice-ufrag:)[^\r\n]*/m, (_, name: string) => name + credentials.ufrag)
        .replace(/^(a=ice-pwd:)[^\r\n]*/m, (_, name: string) => name + credentials.pwd);
      if (!section.startsWith('m=') || candidates.length === 0) return fresh;
      const kept = fresh.replace(/^a=(candidate:|end-of-candidates)[^\r\n]*\r?\n/gm, '');
      if (!first) return kept;
      first = false;
      const added = [...candidates, ...(complete ? ['a=end-of-candidates'] : [])];
      return `${kept.replace(/(\r?\n)?$/, '\r\n')}${added.join('\r\n')}\r\n`;
    })
    .join('');
}
