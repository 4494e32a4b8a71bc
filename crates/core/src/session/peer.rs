//! What publishers and viewers have in common: ICE, DTLS, timeouts, entity tags.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stagecast_proto::sdp::fragment::Fragment;
use str0m::change::SdpOffer;
use str0m::ice::IceCreds;
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{Addresses, Credentials, Ended, Refusal, SessionConfig};

/// `poll` turns for one wake-up; more would mean a loop inside the library.
const MAX_TURNS: usize = 10_000;

/// The connection of one peer.
pub struct Peer {
    /// The state machine; publisher and viewer reach into it for media.
    pub(super) rtc: Rtc,
    offer: String,
    addresses: Addresses,
    password: String,
    ufrag: String,
    restarts: u32,
    created: Instant,
    last_heard: Instant,
    remote: Option<(SocketAddr, Protocol)>,
    connected: bool,
    ended: Option<Ended>,
    connect_timeout: Duration,
    consent_timeout: Duration,
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
    /// Send a datagram.
    Transmit(Transmit),
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
    /// Answer `offer`. `configure` sets codecs and header extensions.
    pub(super) fn answer(
        config: &SessionConfig,
        credentials: Credentials,
        addresses: Addresses,
        offer: &str,
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
            SdpOffer::from_sdp_string(offer).map_err(|e| Refusal::Invalid(e.to_string()))?;
        let answer = rtc
            .sdp_api()
            .accept_offer(parsed)
            .map_err(|e| Refusal::Invalid(e.to_string()))?;
        let peer = Self {
            rtc,
            offer: offer.to_owned(),
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
    pub fn remote(&self) -> Option<(SocketAddr, Protocol)> {
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

    /// A datagram came in from `source` to our `local` address.
    ///
    /// Returns whether it could be parsed; anything else is dropped silently, as
    /// an attacker could send it too.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        protocol: Protocol,
        source: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let Ok(contents) = DatagramRecv::try_from(bytes) else {
            return false;
        };
        let destination = self.candidate_for(protocol, local);
        let input = Input::Receive(
            now,
            Receive {
                proto: protocol,
                source,
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
            self.remote = Some((source, protocol));
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

    /// Next thing to do; call until it waits or has ended.
    pub fn poll(&mut self, now: Instant) -> Step {
        for _ in 0..MAX_TURNS {
            if !self.rtc.is_alive() {
                return Step::Ended(self.ended.clone().unwrap_or(Ended::PeerClosed));
            }
            match self.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => return Step::Transmit(transmit),
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
        let parsed = Fragment::parse(fragment).map_err(|e| Refusal::Fragment(e.to_string()))?;
        let remote = self.remote_credentials();
        let restart = match (&parsed.ufrag, &parsed.pwd) {
            (Some(ufrag), Some(pwd)) => Some((ufrag, pwd)).filter(|c| remote != (c.0, c.1)),
            (Some(ufrag), None) if ufrag == remote.0 => None,
            (None, None) => None,
            _ => {
                return Err(Refusal::Fragment(
                    "ice-ufrag and ice-pwd must come together".into(),
                ));
            }
        };
        let current = self.etag();
        let matches = |tag: &str| tag.trim() == current || matches!(tag.trim(), "*" | "\"*\"");
        let Some((ufrag, pwd)) = restart else {
            return match if_match {
                Some(tag) if !matches(tag) => Err(Refusal::PreconditionFailed { current }),
                // We are ICE-lite: the peer's checks tell us its addresses, so its
                // candidates need not be kept.
                _ => Ok(None),
            };
        };
        match if_match {
            None => return Err(Refusal::PreconditionRequired),
            Some(tag) if !matches(tag) => return Err(Refusal::PreconditionFailed { current }),
            Some(_) => {}
        }
        let (ufrag, pwd) = (ufrag.clone(), pwd.clone());
        self.restart(now, &ufrag, &pwd, fresh)?;
        Ok(Some(self.fragment()))
    }

    /// The ICE user fragment by which the driver finds this session.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    fn restart(
        &mut self,
        now: Instant,
        ufrag: &str,
        pwd: &str,
        fresh: Credentials,
    ) -> Result<(), Refusal> {
        // The library restarts ICE for an offer that differs in nothing but the credentials.
        let offer: String = self
            .offer
            .lines()
            .map(|line| match line.split_once(':') {
                Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{ufrag}\r\n"),
                Some(("a=ice-pwd", _)) => format!("a=ice-pwd:{pwd}\r\n"),
                _ => format!("{line}\r\n"),
            })
            .collect();
        let parsed =
            SdpOffer::from_sdp_string(&offer).map_err(|e| Refusal::Fragment(e.to_string()))?;
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
        self.offer = offer;
        self.restarts += 1;
        self.last_heard = now;
        Ok(())
    }

    fn fragment(&self) -> String {
        let candidate = |address: &SocketAddr| {
            Candidate::host(*address, "udp")
                .ok()
                .map(|c| c.to_sdp_string())
        };
        Fragment {
            ufrag: Some(self.ufrag.clone()),
            pwd: Some(self.password.clone()),
            candidates: self.addresses.udp.iter().filter_map(candidate).collect(),
            end_of_candidates: true,
        }
        .to_string()
    }

    fn remote_credentials(&self) -> (&str, &str) {
        let find = |name: &str| {
            let value = |l: &'_ str| -> Option<usize> { l.strip_prefix(name).map(str::len) };
            self.offer
                .lines()
                .find_map(|l| value(l).map(|len| &l[l.len() - len..]))
                .unwrap_or_default()
                .trim_end()
        };
        (find("a=ice-ufrag:"), find("a=ice-pwd:"))
    }

    /// The candidate that stands for `local`: itself, or, behind NAT, the
    /// advertised one of its family.
    fn candidate_for(&self, protocol: Protocol, local: SocketAddr) -> SocketAddr {
        let list = match protocol {
            Protocol::Udp => &self.addresses.udp,
            _ => &self.addresses.tcp,
        };
        if list.contains(&local) {
            return local;
        }
        let same_family = |a: &&SocketAddr| a.is_ipv4() == local.is_ipv4();
        list.iter().find(same_family).copied().unwrap_or(local)
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
