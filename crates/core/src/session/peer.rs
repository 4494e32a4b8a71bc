//! What publishers and viewers have in common: ICE, DTLS, timeouts, entity tags.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stagecast_proto::codec::Kind;
use stagecast_proto::sdp::Session;
use stagecast_proto::sdp::fragment::Fragment;
use str0m::change::SdpOffer;
use str0m::ice::IceCreds;
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{Addresses, Credentials, Ended, Refusal, SessionConfig, check_patch};
use crate::outbox::{Outbox, Path};
use crate::viewer::answer::candidates;

/// `poll` turns for one wake-up; more would mean a loop inside the library.
const MAX_TURNS: usize = 10_000;

/// The connection of one peer.
pub struct Peer {
    /// The state machine; publisher and viewer reach into it for media.
    pub(super) rtc: Rtc,
    offer: Offer,
    addresses: Addresses,
    password: String,
    ufrag: String,
    restarts: u32,
    created: Instant,
    last_heard: Instant,
    remote: Option<Path>,
    connected: bool,
    ended: Option<Ended>,
    connect_timeout: Duration,
    consent_timeout: Duration,
}

/// The peer's offer as far as it is needed again: when ICE restarts, and for fragments.
struct Offer {
    text: String,
    /// The peer's user fragment and password.
    credentials: (String, String),
    /// Of its first line.
    kind: Kind,
    mids: Vec<String>,
}

impl Offer {
    fn new(text: &str, read: &Session) -> Self {
        let first = read.media.first();
        let ufrag = first.and_then(|media| media.ice_ufrag.clone());
        let pwd = first.and_then(|media| media.ice_pwd.clone());
        let mids = read.media.iter().map(|media| media.mid.clone());
        Self {
            text: text.to_owned(),
            credentials: (ufrag.unwrap_or_default(), pwd.unwrap_or_default()),
            kind: first.and_then(|media| media.kind).unwrap_or(Kind::Video),
            mids: mids.filter(|mid| !mid.is_empty()).collect(),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("remote", &self.remote)
            .field("connected", &self.connected)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Step {
    /// ICE and DTLS are through.
    Connected,
    /// Something for publisher or viewer.
    Media(Box<Event>),
    /// Nothing more until then, or until input.
    Wait(Instant),
    /// The session is over.
    Ended(Ended),
}

impl Peer {
    /// Answer an offer, which comes as text and read. `configure` sets codecs and header extensions.
    pub(super) fn answer(
        config: &SessionConfig,
        credentials: Credentials,
        addresses: Addresses,
        (text, read): (&str, &Session),
        now: Instant,
        configure: impl FnOnce(RtcConfig) -> RtcConfig,
    ) -> Result<(Self, String), Refusal> {
        let rtc_config = RtcConfig::new()
            .set_crypto_provider(config.crypto.clone())
            .set_dtls_cert(config.certificate.clone())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .set_local_ice_credentials(IceCreds {
                ufrag: credentials.ufrag.clone(),
                pass: credentials.password.clone(),
            })
            .set_rtcp_report_interval_audio(Duration::from_secs(1))
            .set_rtcp_report_interval_video(Duration::from_secs(1))
            .set_stats_interval(Some(Duration::from_secs(1)));
        let mut rtc = configure(rtc_config).build(now);
        for &address in &addresses.udp {
            let candidate =
                Candidate::host(address, "udp").map_err(|e| Refusal::Internal(e.to_string()))?;
            rtc.add_local_candidate(candidate);
        }
        for &address in &addresses.tcp {
            let candidate = Candidate::builder()
                .tcp()
                .host(address)
                .tcptype(str0m::net::TcpType::Passive)
                .build()
                .map_err(|e| Refusal::Internal(e.to_string()))?;
            rtc.add_local_candidate(candidate);
        }
        let parsed =
            SdpOffer::from_sdp_string(text).map_err(|e| Refusal::Invalid(e.to_string()))?;
        let answer = rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(|e| Refusal::Invalid(e.to_string()))?;
        let peer = Self {
            rtc,
            offer: Offer::new(text, read),
            addresses,
            ufrag: credentials.ufrag,
            password: credentials.password,
            restarts: 0,
            created: now,
            last_heard: now,
            remote: None,
            connected: false,
            ended: None,
            connect_timeout: config.connect_timeout,
            consent_timeout: config.consent_timeout,
        };
        Ok((peer, answer.to_sdp_string()))
    }

    /// The strong entity tag of the current ICE session (RFC 9725 §4.3.2).
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.ufrag, self.restarts)
    }

    /// The peer's address, once it has been heard.
    pub fn path(&self) -> Option<Path> {
        self.remote
    }

    /// Whether ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// When the session was made.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// A datagram came in to our port `port`.
    ///
    /// Returns whether it could be parsed and belongs to this session; anything
    /// else is dropped silently, as an attacker could send it too.
    pub fn handle_datagram(&mut self, now: Instant, from: Path, port: u16, bytes: &[u8]) -> bool {
        let Ok(contents) = DatagramRecv::try_from(bytes) else {
            return false;
        };
        let proto = if from.tcp {
            Protocol::Tcp
        } else {
            Protocol::Udp
        };
        let destination = self.candidate_for(from, port);
        let input = Input::Receive(
            now,
            Receive {
                proto,
                source: from.remote,
                destination,
                contents,
            },
        );
        if !self.rtc.accepts(&input) {
            return false;
        }
        // An error here is the peer's malformed packet: dropped, not fatal.
        let taken = self.rtc.handle_input(input).is_ok();
        if taken {
            self.last_heard = now;
            self.remote = Some(from);
        }
        taken
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        if !self.connected && now >= self.created + self.connect_timeout {
            self.close(Ended::ConnectTimeout);
        } else if self.connected && now >= self.last_heard + self.consent_timeout {
            self.close(Ended::ConsentLost);
        }
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(&error.to_string());
        }
    }

    /// Say goodbye (RTCP BYE, DTLS `close_notify`); `poll` then yields the end.
    pub fn close(&mut self, reason: Ended) {
        if self.ended.is_none() {
            self.ended = Some(reason);
            // A session that never connected has nobody to say goodbye to.
            let _ = self.rtc.close();
        }
    }

    /// Next thing to do; call until it waits or has ended. Datagrams go to `out`.
    pub fn poll(&mut self, now: Instant, out: &mut Outbox) -> Step {
        for _ in 0..MAX_TURNS {
            if !self.rtc.is_alive() {
                return Step::Ended(self.ended.clone().unwrap_or(Ended::PeerClosed));
            }
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    let local = self.remote.and_then(|path| path.local);
                    let tcp = transmit.proto != Protocol::Udp;
                    let path = Path {
                        remote: transmit.destination,
                        local,
                        tcp,
                    };
                    out.push(path, &transmit.contents);
                }
                Ok(Output::Event(Event::Connected)) => {
                    self.connected = true;
                    return Step::Connected;
                }
                Ok(Output::Event(Event::Closed)) => {
                    self.ended.get_or_insert(Ended::PeerClosed);
                }
                Ok(Output::Event(event)) => return Step::Media(Box::new(event)),
                Ok(Output::Timeout(at)) if at <= now => {
                    if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                        self.fail(&error.to_string());
                    }
                }
                Ok(Output::Timeout(at)) => {
                    if let Some(ended) = &self.ended {
                        // Goodbye is said; nothing to wait for.
                        return Step::Ended(ended.clone());
                    }
                    return Step::Wait(at.min(self.deadline()));
                }
                Err(error) => self.fail(&error.to_string()),
            }
        }
        self.fail("the session does not settle");
        Step::Ended(self.ended.clone().expect("fail() sets the reason"))
    }

    /// Apply a trickle or ICE restart fragment; the answer fragment after a restart.
    pub fn patch(
        &mut self,
        now: Instant,
        fragment: &str,
        if_match: Option<&str>,
        fresh: Credentials,
    ) -> Result<Option<String>, Refusal> {
        let etag = self.etag();
        let (ufrag, pwd) = &self.offer.credentials;
        let Some(credentials) = check_patch(fragment, if_match, (ufrag, pwd), &etag)? else {
            return Ok(None);
        };
        self.restart(now, credentials, fresh)?;
        Ok(Some(self.fragment()))
    }

    /// The ICE user fragment by which the driver finds this session.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    fn restart(
        &mut self,
        now: Instant,
        (ufrag, pwd): (String, String),
        fresh: Credentials,
    ) -> Result<(), Refusal> {
        // The library restarts ICE for an offer that differs in nothing but the credentials.
        let text: String = self
            .offer
            .text
            .lines()
            .map(|line| match line.split_once(':') {
                Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{ufrag}\r\n"),
                Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{pwd}\r\n"),
                _ => format!("{line}\r\n"),
            })
            .collect();
        let parsed =
            SdpOffer::from_sdp_string(&text).map_err(|e| Refusal::Fragment(e.to_string()))?;
        self.rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(|e| Refusal::Fragment(e.to_string()))?;
        let creds = IceCreds {
            ufrag: fresh.ufrag.clone(),
            pass: fresh.password.clone(),
        };
        self.rtc.direct_api().set_local_ice_credentials(creds);
        self.ufrag = fresh.ufrag;
        self.password = fresh.password;
        self.offer.text = text;
        self.offer.credentials = (ufrag, pwd);
        self.restarts += 1;
        self.last_heard = now;
        Ok(())
    }

    fn fragment(&self) -> String {
        let fragment = Fragment {
            ufrag: Some(self.ufrag.clone()),
            pwd: Some(self.password.clone()),
            candidates: candidates(&self.addresses),
            end_of_candidates: true,
        };
        let mids: Vec<&str> = self.offer.mids.iter().map(String::as_str).collect();
        fragment.to_sdp(self.offer.kind, &mids)
    }

    /// The candidate that stands for our address: itself, or, behind NAT, the
    /// advertised one of its family.
    fn candidate_for(&self, from: Path, port: u16) -> SocketAddr {
        let list = if from.tcp {
            &self.addresses.tcp
        } else {
            &self.addresses.udp
        };
        let local = from.local.map(|ip| SocketAddr::new(ip, port));
        if let Some(local) = local.filter(|l| list.contains(l)) {
            return local;
        }
        let same_family = |a: &&SocketAddr| a.is_ipv4() == from.remote.is_ipv4();
        list.iter()
            .find(same_family)
            .copied()
            .unwrap_or(from.remote)
    }

    fn deadline(&self) -> Instant {
        if self.connected {
            self.last_heard + self.consent_timeout
        } else {
            self.created + self.connect_timeout
        }
    }

    fn fail(&mut self, detail: &str) {
        self.ended = Some(Ended::Error(detail.to_owned()));
        self.rtc.disconnect();
    }
}
