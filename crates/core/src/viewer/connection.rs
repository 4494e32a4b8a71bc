//! ICE-lite responder and DTLS server of one viewer: from its first binding
//! request to the keys of SRTP.
//!
//! The peer is the controlling agent: it sends the checks, we answer them (RFC
//! 8445 §2.5, §7.3). A datagram counts for something only once a binding request
//! with our password has come from its address; until then nothing is kept.

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::{constant_time, digest, hmac};
use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};
use is::stun::StunMessage;
use stagecast_proto::stun::integrity;

use crate::outbox::{Lane, Outbox, Path};
use crate::session::{Credentials, Refusal};
use crate::srtp::{self, Opener, Profile, Sealer};

/// Largest DTLS flight that is made or taken; certificates are small.
const DTLS_BUFFER: usize = 2048;

/// What all viewers share for their handshakes.
#[derive(Clone)]
pub struct Identity {
    config: Arc<dimpl::Config>,
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    /// `a=fingerprint` value (RFC 8122): "sha-256 AB:CD:…".
    fingerprint: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// From a certificate and its private key, both DER.
    pub fn new(certificate: Vec<u8>, private_key: Vec<u8>) -> Result<Self, Refusal> {
        // ICE has shown that the peer receives at its address, so no cookie is needed.
        let config = dimpl::Config::builder()
            .use_server_cookie(false)
            .build()
            .map_err(|e| Refusal::Internal(format!("DTLS: {e}")))?;
        let fingerprint = format!(
            "sha-256 {}",
            colon_hex(digest::digest(&digest::SHA256, &certificate).as_ref())
        );
        Ok(Self {
            config: Arc::new(config),
            certificate,
            private_key,
            fingerprint,
        })
    }

    /// For the session description.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// What a datagram or a timeout brought about.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell.
    None,
    /// SRTP can begin.
    Secured,
    /// The peer said goodbye.
    Closed,
    /// It cannot go on.
    Failed(String),
}

/// ICE and DTLS of one viewer.
pub struct Connection {
    local: Credentials,
    /// The peer's user fragment; changes with an ICE restart.
    remote_ufrag: String,
    /// Its certificate's fingerprint: hash name and value.
    fingerprint: (String, Vec<u8>),
    dtls: Dtls,
    dtls_wake: Option<Instant>,
    keys: Option<(Sealer, Opener)>,
    peer_proved: bool,
    path: Option<Path>,
    /// Last genuine binding request: consent (RFC 7675).
    consent: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Wait for a peer that has this user fragment and certificate fingerprint.
    pub fn new(
        identity: &Identity,
        local: Credentials,
        remote_ufrag: &str,
        fingerprint: &str,
        now: Instant,
    ) -> Result<Self, Refusal> {
        let certificate = DtlsCertificate {
            certificate: identity.certificate.clone(),
            private_key: identity.private_key.clone(),
        };
        let mut dtls = Dtls::new_12(Arc::clone(&identity.config), certificate, now);
        dtls.set_active(false);
        dtls.handle_timeout(now)
            .map_err(|e| Refusal::Internal(format!("DTLS: {e}")))?;
        let fingerprint = parse_fingerprint(fingerprint)
            .ok_or_else(|| Refusal::Invalid(format!("unusable fingerprint {fingerprint:?}")))?;
        Ok(Self {
            local,
            remote_ufrag: remote_ufrag.to_owned(),
            fingerprint,
            dtls,
            dtls_wake: None,
            keys: None,
            peer_proved: false,
            path: None,
            consent: now,
        })
    }

    /// Our credentials.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// The way to the peer, once it has chosen one.
    pub fn path(&self) -> Option<Path> {
        self.path
    }

    /// When the peer last showed that it still wants to receive.
    pub fn consent(&self) -> Instant {
        self.consent
    }

    /// The keys, once; only after the peer's certificate has proved genuine.
    pub fn take_keys(&mut self) -> Option<(Sealer, Opener)> {
        self.keys.take_if(|_| self.peer_proved)
    }

    /// Begin anew with other credentials (RFC 8445 §9); DTLS and SRTP go on.
    pub fn restart(&mut self, local: Credentials, remote_ufrag: &str, now: Instant) {
        self.local = local;
        remote_ufrag.clone_into(&mut self.remote_ufrag);
        self.consent = now;
    }

    /// A binding request; whether it was genuine.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        from: Path,
        bytes: &[u8],
        out: &mut Outbox,
    ) -> bool {
        // First of all: whatever fails here has cost no memory.
        if !is_sealed(bytes, self.local.password.as_bytes()) {
            return false;
        }
        let Ok(message) = StunMessage::parse(bytes) else {
            return false;
        };
        let ours = |(ufrag, theirs): (&str, &str)| {
            ufrag == self.local.ufrag && theirs == self.remote_ufrag
        };
        let genuine = message.is_binding_request() && message.split_username().is_some_and(ours);
        if !genuine {
            return false;
        }
        self.consent = now;
        // The controlling peer's choice; until it has made one, the first path that works.
        if message.use_candidate() || self.path.is_none() {
            self.path = Some(from);
        }
        let reply = StunMessage::binding_reply(message.trans_id(), from.remote);
        out.push_with(from, Lane::Control, 256, |room| {
            reply
                .to_bytes(Some(self.local.password.as_bytes()), room, hmac_sha1)
                .ok()
        });
        true
    }

    /// A DTLS record.
    pub fn handle_dtls(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) -> Progress {
        // A record that cannot be understood is dropped (RFC 6347 §4.1.2.7).
        let _ = self.dtls.handle_timeout(now);
        let _ = self.dtls.handle_packet(bytes);
        self.drain(out)
    }

    /// When `handle_timeout` is due.
    pub fn wake(&self) -> Option<Instant> {
        self.dtls_wake
    }

    /// Repeat what was not answered.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> Progress {
        if let Err(error) = self.dtls.handle_timeout(now) {
            return Progress::Failed(format!("DTLS: {error}"));
        }
        self.drain(out)
    }

    /// Say goodbye.
    pub fn close(&mut self, out: &mut Outbox) {
        if self.dtls.close().is_ok() {
            self.drain(out);
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
                    self.peer_proved = matches_fingerprint(der, &self.fingerprint);
                    if !self.peer_proved {
                        return Progress::Failed(
                            "the peer's certificate is not the one of its offer".into(),
                        );
                    }
                }
                Output::KeyingMaterial(material, profile) => match make_keys(&material, profile) {
                    Ok(keys) => {
                        self.keys = Some(keys);
                        progress = Progress::Secured;
                    }
                    Err(error) => return Progress::Failed(error),
                },
                Output::CloseNotify => progress = Progress::Closed,
                Output::BufferTooSmall { needed } => {
                    return Progress::Failed(format!("a DTLS record of {needed} bytes"));
                }
                _ => {}
            }
        }
        progress
    }
}

fn make_keys(material: &[u8], profile: SrtpProfile) -> Result<(Sealer, Opener), String> {
    let profile = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        other => return Err(format!("unknown SRTP profile {other:?}")),
    };
    srtp::contexts(profile, material, true).map_err(|e| e.to_string())
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

/// Whether a STUN message has the integrity check of this password (RFC 8489 §9.1.3).
pub(crate) fn is_sealed(message: &[u8], password: &[u8]) -> bool {
    integrity(message).is_some_and(|found| {
        let tag = hmac_sha1(password, &[&found.header, found.attributes]);
        constant_time::verify_slices_are_equal(&tag, found.tag).is_ok()
    })
}

/// `a=fingerprint` (RFC 8122 §5) as lower-case hash name and bytes.
fn parse_fingerprint(text: &str) -> Option<(String, Vec<u8>)> {
    let (hash, value) = text.trim().split_once(' ')?;
    let bytes: Option<Vec<u8>> = value
        .trim()
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).ok())
        .collect();
    Some((hash.to_ascii_lowercase(), bytes?))
}

fn matches_fingerprint(der: &[u8], (hash, expected): &(String, Vec<u8>)) -> bool {
    let algorithm = match hash.as_str() {
        "sha-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha-224" => &digest::SHA224,
        "sha-256" => &digest::SHA256,
        "sha-384" => &digest::SHA384,
        "sha-512" => &digest::SHA512,
        _ => return false,
    };
    let actual = digest::digest(algorithm, der);
    constant_time::verify_slices_are_equal(actual.as_ref(), expected).is_ok()
}

fn colon_hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    digits.join(":")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use is::stun::TransId;
    use std::net::{Ipv4Addr, SocketAddr};

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn connection() -> Connection {
        let made = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let identity = Identity::new(made.certificate, made.private_key).unwrap();
        let local = Credentials {
            ufrag: "00abcd".into(),
            password: "p".repeat(32),
        };
        let fingerprint = identity.fingerprint().to_owned();
        Connection::new(&identity, local, "peer", &fingerprint, Instant::now()).unwrap()
    }

    pub(crate) fn request(username: &str, password: &str) -> Vec<u8> {
        let message = StunMessage::binding_request(username, TransId::new(), true, 7, 1, true);
        let mut bytes = vec![0; 512];
        let len = message
            .to_bytes(Some(password.as_bytes()), &mut bytes, hmac_sha1)
            .unwrap();
        bytes.truncate(len);
        bytes
    }

    fn from(port: u16) -> Path {
        Path {
            remote: loopback(port),
            local: None,
            tcp: false,
        }
    }

    #[test]
    fn genuine_request_is_answered_and_chooses_the_path() {
        let (mut connection, mut out) = (connection(), Outbox::default());
        let bytes = request("00abcd:peer", &"p".repeat(32));
        assert!(connection.handle_stun(Instant::now(), from(9), &bytes, &mut out));
        assert_eq!(connection.path(), Some(from(9)));
        let reply = StunMessage::parse(out.arena()).unwrap();
        assert!(reply.is_successful_binding_response());
        assert_eq!(reply.mapped_address(), Some(loopback(9)));
    }

    #[test]
    fn request_with_another_name_or_password_is_not_answered() {
        let (mut connection, mut out) = (connection(), Outbox::default());
        let good = "p".repeat(32);
        let tries = [
            ("00abcd:other", &*good),
            ("zz:peer", &*good),
            ("00abcd:peer", "wrong"),
        ];
        for (name, password) in tries {
            let bytes = request(name, password);
            assert!(!connection.handle_stun(Instant::now(), from(9), &bytes, &mut out));
        }
        assert!(out.runs().is_empty() && connection.path().is_none());
    }

    #[test]
    fn garbage_instead_of_a_handshake_is_dropped() {
        let (mut connection, mut out) = (connection(), Outbox::default());
        for bytes in [&[][..], &[22; 5], &[0xff; 1500]] {
            let progress = connection.handle_dtls(Instant::now(), bytes, &mut out);
            assert_eq!(progress, Progress::None);
        }
    }

    #[test]
    fn fingerprints_compare_by_value_not_by_spelling() {
        let der = b"certificate";
        let hash = digest::digest(&digest::SHA256, der);
        let text = format!("SHA-256 {}", colon_hex(hash.as_ref()).to_lowercase());
        assert!(matches_fingerprint(der, &parse_fingerprint(&text).unwrap()));
        assert!(!matches_fingerprint(
            b"another",
            &parse_fingerprint(&text).unwrap()
        ));
        assert!(parse_fingerprint("sha-256 xy").is_none());
    }
}
