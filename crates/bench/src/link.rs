//! ICE and DTLS of one load peer, from the answer to the keys of SRTP.
//!
//! The offering side: controlling ICE agent with one host candidate, which nominates
//! with its first check (as many checks as the answer has UDP addresses), and DTLS
//! client, or server where the answer asks for that. Answers the checks of servers
//! that are full agents, and keeps consent (RFC 7675) every five seconds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, hmac};
use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};
use is::stun::{StunMessage, TransId};
use stagecast_core::outbox::{Lane, Outbox, Path};
use stagecast_core::srtp::{self, Opener, Profile, Sealer};

use crate::Error;
use crate::sdp::Remote;

/// Addresses of an answer that are tried.
const MAX_CANDIDATES: usize = 8;
/// The first repetition of an unanswered check; it doubles …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this.
const LONGEST_RETRY: Duration = Duration::from_millis(800);
/// Between checks that keep the session.
const CONSENT: Duration = Duration::from_secs(5);
/// Without an answer for this long the server is gone.
const CONSENT_LOST: Duration = Duration::from_secs(30);
/// Largest DTLS record made or taken.
const DTLS_BUFFER: usize = 2048;
/// RFC 8445 §5.1.2.1, a peer-reflexive candidate.
const PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;

/// Certificate and settings that all peers of a run share.
#[derive(Clone)]
pub struct Identity {
    config: Arc<dimpl::Config>,
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    /// `a=fingerprint` value.
    pub fingerprint: String,
}

impl Identity {
    /// A fresh self-signed certificate.
    pub fn new() -> Result<Self, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Config(format!("DTLS: {e}"));
        let made =
            dimpl::certificate::generate_self_signed_certificate().map_err(|e| failed(&e))?;
        let config = dimpl::Config::builder().build().map_err(|e| failed(&e))?;
        let hash = digest::digest(&digest::SHA256, &made.certificate);
        let digits: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        Ok(Self {
            config: Arc::new(config),
            certificate: made.certificate,
            private_key: made.private_key,
            fingerprint: format!("sha-256 {}", digits.join(":")),
        })
    }
}

/// ICE user fragment and password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`.
    pub pwd: String,
}

impl Credentials {
    /// From 20 random bytes.
    pub fn new(random: [u8; 20]) -> Self {
        let digits: Vec<String> = random.iter().map(|b| format!("{b:02x}")).collect();
        let text = digits.concat();
        Self {
            ufrag: text[..8].into(),
            pwd: text[8..].into(),
        }
    }
}

/// What came of a datagram or a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell.
    None,
    /// Keys are there: see [`Link::take_keys`].
    Secured,
    /// It is over, and why.
    Ended(&'static str),
}

/// ICE and DTLS of one peer.
pub struct Link {
    local: Credentials,
    remote: Remote,
    tie_breaker: u64,
    dtls: Dtls,
    dtls_wake: Option<Instant>,
    checks: Vec<(TransId, SocketAddr)>,
    next_check: Instant,
    retry: Duration,
    path: Option<Path>,
    answered: Instant,
    keys: Option<(Sealer, Opener)>,
    proved: bool,
}

impl Link {
    /// Begin with the first check; call [`Link::handle_timeout`] to send it.
    pub fn new(
        identity: &Identity,
        local: Credentials,
        mut remote: Remote,
        now: Instant,
    ) -> Result<Self, Error> {
        remote.candidates.truncate(MAX_CANDIDATES);
        if remote.candidates.is_empty() {
            return Err(Error::Answer("it has no UDP candidate".into()));
        }
        let certificate = DtlsCertificate {
            certificate: identity.certificate.clone(),
            private_key: identity.private_key.clone(),
        };
        let mut dtls = Dtls::new_12(Arc::clone(&identity.config), certificate, now);
        dtls.set_active(!remote.active);
        let mut tie_breaker = [0; 8];
        getrandom::fill(&mut tie_breaker).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Self {
            local,
            remote,
            tie_breaker: u64::from_be_bytes(tie_breaker),
            dtls,
            dtls_wake: None,
            checks: Vec::new(),
            next_check: now,
            retry: FIRST_RETRY,
            path: None,
            answered: now,
            keys: None,
            proved: false,
        })
    }

    /// The way to the server, once a check was answered.
    pub fn path(&self) -> Option<Path> {
        self.path
    }

    /// The keys, once, after the certificate has proved genuine.
    pub fn take_keys(&mut self) -> Option<(Sealer, Opener)> {
        self.keys.take_if(|_| self.proved)
    }

    /// A STUN message came in.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut Outbox,
    ) -> Progress {
        let Ok(message) = StunMessage::parse(bytes) else {
            return Progress::None;
        };
        if message.is_binding_request() {
            if message.verify(self.local.pwd.as_bytes(), hmac_sha1) {
                let reply = StunMessage::binding_reply(message.trans_id(), from);
                let password = Some(self.local.pwd.as_bytes());
                out.push_with(path(from), Lane::Control, 256, |room| {
                    reply.to_bytes(password, room, hmac_sha1).ok()
                });
            }
            return Progress::None;
        }
        let ours = |(id, _): &&(TransId, SocketAddr)| *id == message.trans_id();
        if !message.is_successful_binding_response()
            || self.checks.iter().find(ours).is_none()
            || !message.verify(self.remote.pwd.as_bytes(), hmac_sha1)
        {
            return Progress::None;
        }
        self.answered = now;
        if self.path.is_some() {
            return Progress::None;
        }
        self.path = Some(path(from));
        self.next_check = now + CONSENT;
        // A DTLS client speaks first.
        if self.dtls.handle_timeout(now).is_err() {
            return Progress::Ended("dtls");
        }
        self.drain(out)
    }

    /// A DTLS record came in.
    pub fn handle_dtls(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) -> Progress {
        // A server may begin before its answer to our check arrives; it repeats.
        if self.path.is_none() {
            return Progress::None;
        }
        let _ = self.dtls.handle_timeout(now);
        let _ = self.dtls.handle_packet(bytes);
        self.drain(out)
    }

    /// When [`Link::handle_timeout`] is due.
    pub fn wake(&self) -> Instant {
        match self.dtls_wake {
            Some(at) if self.path.is_some() => at.min(self.next_check),
            _ => self.next_check,
        }
    }

    /// Check, repeat, keep consent.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> Progress {
        if self.path.is_some() && now >= self.answered + CONSENT_LOST {
            return Progress::Ended("consent_lost");
        }
        if now >= self.next_check {
            self.check(now, out);
        }
        if self.path.is_some() && self.dtls_wake.is_some_and(|at| at <= now) {
            if self.dtls.handle_timeout(now).is_err() {
                return Progress::Ended("dtls");
            }
            return self.drain(out);
        }
        Progress::None
    }

    /// Say goodbye: DTLS `close_notify`.
    pub fn close(&mut self, out: &mut Outbox) {
        if self.path.is_some() && self.dtls.close().is_ok() {
            self.drain(out);
        }
    }

    fn check(&mut self, now: Instant, out: &mut Outbox) {
        let targets: Vec<SocketAddr> = match self.path {
            Some(path) => vec![path.remote],
            None => self.remote.candidates.clone(),
        };
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        for target in targets {
            let id = TransId::new();
            let request =
                StunMessage::binding_request(&username, id, true, self.tie_breaker, PRIORITY, true);
            let password = Some(self.remote.pwd.as_bytes());
            out.push_with(path(target), Lane::Control, 512, |room| {
                request.to_bytes(password, room, hmac_sha1).ok()
            });
            self.checks.push((id, target));
        }
        let forget = self.checks.len().saturating_sub(4 * MAX_CANDIDATES);
        self.checks.drain(..forget);
        if self.path.is_some() {
            self.next_check = now + CONSENT;
        } else {
            self.next_check = now + self.retry;
            self.retry = (self.retry * 2).min(LONGEST_RETRY);
        }
    }

    fn drain(&mut self, out: &mut Outbox) -> Progress {
        let mut buffer = [0; DTLS_BUFFER];
        let mut progress = Progress::None;
        // Each output is finite; the bound is against a fault in the library.
        for _ in 0..64 {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => {
                    if let Some(path) = self.path {
                        out.push(path, bytes);
                    }
                }
                Output::Timeout(at) => {
                    self.dtls_wake = Some(at);
                    return progress;
                }
                Output::PeerCert(der) => {
                    self.proved = self.remote.fingerprint.matches(der);
                    if !self.proved {
                        return Progress::Ended("certificate");
                    }
                }
                Output::KeyingMaterial(material, profile) => {
                    let Some(keys) = keys(&material, profile, self.remote.active) else {
                        return Progress::Ended("srtp_profile");
                    };
                    self.keys = Some(keys);
                    progress = Progress::Secured;
                }
                Output::CloseNotify => return Progress::Ended("closed_by_server"),
                Output::BufferTooSmall { .. } => return Progress::Ended("dtls"),
                _ => {}
            }
        }
        progress
    }
}

fn keys(material: &[u8], profile: SrtpProfile, is_server: bool) -> Option<(Sealer, Opener)> {
    let profile = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        _ => return None,
    };
    srtp::contexts(profile, material, is_server).ok()
}

fn path(remote: SocketAddr) -> Path {
    Path {
        remote,
        local: None,
        tcp: false,
    }
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let mut tag = [0; 20];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}
