//! One player: what it asks for next, and what it missed.
//!
//! Without sockets: answers come in, requests go out. A rendition has two lanes, each with one
//! request at a time: the playlist's, which blocks until the next part, and media's, which is ahead
//! of the playlist by the part that it hints at.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Instant;

use super::figures::{Figures, Sums};
use super::http::{Answer, resolve};
use super::playlist::{self, Media};

/// Renditions of a player: video, audio.
pub(super) const MAX_TRACKS: usize = 2;
/// Redirects on the way to the first playlist.
const MAX_REDIRECTS: u32 = 5;
/// Parts that a player asks for at its start, at most: it wants to be near the end.
const MAX_FIRST: usize = 25;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Want {
    Multivariant,
    Playlist,
    Init,
    Part,
}

/// A request on a lane: twice the rendition, and one more for media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) lane: usize,
    pub(super) want: Want,
    pub(super) path: String,
}

/// How players ask.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// Host and port, as the server is addressed.
    pub(super) host: String,
    pub(super) audio: bool,
    /// Ask for hinted parts.
    pub(super) hints: bool,
    /// Ask for delta updates.
    pub(super) deltas: bool,
}

/// When media would have been shown.
#[derive(Debug, Default)]
struct Playhead {
    began: Option<Instant>,
    /// Seconds of media that are there.
    end: f64,
    stalled: f64,
}

impl Playhead {
    /// More media is there; how long the picture had stood still for it.
    fn add(&mut self, seconds: f64, now: Instant) -> f64 {
        let mut stood = 0.0;
        if let Some(began) = self.began {
            let at = (now - began).as_secs_f64() - self.stalled;
            stood = (at - self.end).max(0.0);
            self.stalled += stood;
        }
        self.end += seconds;
        stood
    }
}

/// Media to ask for.
#[derive(Debug)]
struct Fetch {
    request: Request,
    /// What it adds to the playhead; unknown of a part that no playlist has told of.
    seconds: Option<f64>,
}

#[derive(Debug)]
struct Track {
    path: String,
    map: Option<String>,
    /// The next part that a playlist should tell of; none before the first one.
    next: Option<(u64, u32)>,
    queue: VecDeque<Fetch>,
    /// What is under way.
    current: Option<Fetch>,
    /// A part that was hinted at and that no playlist has told of; whether it is there.
    hint: Option<(String, bool)>,
    /// Requests until there is enough to play.
    first: usize,
    playhead: Playhead,
}

/// A player.
#[derive(Debug)]
pub(super) struct Player {
    path: String,
    joined: Instant,
    redirects: u32,
    tracks: Vec<Track>,
    pub(super) figures: Figures,
}

impl Player {
    /// Joins now; the first request goes to `out`.
    pub(super) fn join(path: String, now: Instant, out: &mut Vec<Request>) -> Self {
        let player = Self {
            path,
            joined: now,
            redirects: 0,
            tracks: Vec::new(),
            figures: Figures::default(),
        };
        out.push(player.multivariant());
        player
    }

    fn multivariant(&self) -> Request {
        Request {
            lane: 0,
            want: Want::Multivariant,
            path: self.path.clone(),
        }
    }

    /// An answer came; what to ask now goes to `out`. False asks for a pause before
    /// [`Player::again`].
    pub(super) fn on_answer(
        &mut self,
        asked: &Request,
        answer: &Answer,
        manners: &Manners,
        now: Instant,
        out: &mut Vec<Request>,
    ) -> bool {
        self.figures.sums.requests += 1;
        self.figures.sums.bytes += answer.len as u64;
        if (301..=308).contains(&answer.status) && asked.want == Want::Multivariant {
            return self.redirect(answer, manners, out);
        }
        if answer.status != 200 {
            let said = String::from_utf8_lossy(&answer.body);
            let said: String = said.chars().take(80).collect();
            return self.on_failure(asked, &format!("http {} {said}", answer.status), out);
        }
        let text = || str::from_utf8(&answer.body).unwrap_or_default();
        match &asked.want {
            Want::Multivariant => self.on_multivariant(text(), manners, out),
            Want::Playlist => self.on_playlist(asked.lane / 2, text(), manners, now, out),
            Want::Init | Want::Part => {
                self.figures.sums.parts += u64::from(asked.want == Want::Part);
                self.on_media(asked.lane / 2, now, out)
            }
        }
    }

    /// A request was refused, cut off or not answered. The same as [`Player::on_answer`].
    pub(super) fn on_failure(
        &mut self,
        asked: &Request,
        why: &str,
        out: &mut Vec<Request>,
    ) -> bool {
        if matches!(asked.want, Want::Multivariant | Want::Playlist) {
            return self.on_error(why);
        }
        let number = asked.lane / 2;
        let track = &mut self.tracks[number];
        let failed = track.current.take_if(|fetch| fetch.request == *asked);
        let told = failed.is_some_and(|fetch| fetch.seconds.is_some());
        track.first = track.first.saturating_sub(1);
        if told {
            self.figures.sums.missed += u64::from(asked.want == Want::Part);
            self.on_error(why);
        } else {
            // Whether there is such a part shows in the next playlist.
            let hint = track.hint.take_if(|(hint, _)| *hint == asked.path);
            self.figures.sums.wrong_hints += u64::from(hint.is_some());
        }
        self.next_media(number, out);
        true
    }

    fn on_error(&mut self, why: &str) -> bool {
        self.figures.sums.errors += 1;
        let why = why.trim().to_owned();
        self.figures.failure.get_or_insert(why);
        false
    }

    /// After a failure to get a playlist, and a pause: go on.
    pub(super) fn again(&mut self, asked: &Request, manners: &Manners, out: &mut Vec<Request>) {
        match asked.want {
            Want::Multivariant => out.push(self.multivariant()),
            _ => out.push(self.reload(asked.lane / 2, manners, false)),
        }
    }

    fn redirect(&mut self, answer: &Answer, manners: &Manners, out: &mut Vec<Request>) -> bool {
        self.redirects += 1;
        let place = answer.location.as_deref().unwrap_or_default();
        let place = resolve(&self.path, place, &manners.host);
        match place.filter(|_| self.redirects <= MAX_REDIRECTS) {
            Some(path) => {
                self.path = path;
                out.push(self.multivariant());
                true
            }
            None => self.on_error("led elsewhere, or in a circle"),
        }
    }

    fn on_multivariant(&mut self, text: &str, manners: &Manners, out: &mut Vec<Request>) -> bool {
        let Some(found) = playlist::multivariant(text) else {
            return self.on_error("no multivariant playlist");
        };
        let audio = found.audio.filter(|_| manners.audio);
        for uri in [Some(found.video), audio].into_iter().flatten() {
            let Some(path) = resolve(&self.path, uri, &manners.host) else {
                return self.on_error("a rendition is elsewhere");
            };
            self.tracks.push(Track {
                path,
                map: None,
                next: None,
                queue: VecDeque::new(),
                current: None,
                hint: None,
                first: 0,
                playhead: Playhead::default(),
            });
        }
        for number in 0..self.tracks.len().min(MAX_TRACKS) {
            out.push(self.reload(number, manners, false));
        }
        true
    }

    /// The request for a rendition's playlist: blocking, once it is known where it is.
    fn reload(&self, number: usize, manners: &Manners, skip: bool) -> Request {
        let track = &self.tracks[number];
        let mut path = track.path.clone();
        if let Some((segment, part)) = track.next {
            let mark = if path.contains('?') { '&' } else { '?' };
            write!(path, "{mark}_HLS_msn={segment}&_HLS_part={part}").expect("a string takes all");
            if skip && manners.deltas {
                path.push_str("&_HLS_skip=YES");
            }
        }
        Request {
            lane: number * 2,
            want: Want::Playlist,
            path,
        }
    }

    fn on_playlist(
        &mut self,
        number: usize,
        text: &str,
        manners: &Manners,
        now: Instant,
        out: &mut Vec<Request>,
    ) -> bool {
        let Some(media) = playlist::media(text) else {
            return self.on_error("no media playlist");
        };
        if !media.can_block {
            return self.on_error("the server does not block reloads");
        }
        self.figures.sums.playlists += 1;
        let joined = self.joined;
        self.take_map(number, &media, manners);
        if self.tracks[number].next.is_none() {
            self.take_first(number, &media, manners);
        } else {
            self.take_new(number, &media, manners, now);
        }
        let track = &mut self.tracks[number];
        // A reload that brought nothing new is asked again as it was.
        track.next = track.next.max(Some(media.next));
        if self.tracks.iter().all(|track| track.next.is_some()) {
            self.figures.listed.get_or_insert(now - joined);
        }
        if media.ended {
            self.next_media(number, out);
            return true;
        }
        if manners.hints {
            self.take_hint(number, &media, manners);
        }
        out.push(self.reload(number, manners, media.can_skip));
        self.next_media(number, out);
        true
    }

    fn take_map(&mut self, number: usize, media: &Media<'_>, manners: &Manners) {
        let track = &mut self.tracks[number];
        let Some(uri) = media.map else { return };
        if track.map.as_deref() != Some(uri) {
            track.map = Some(uri.into());
            track.fetch(number, Want::Init, uri, Some(0.0), &manners.host);
        }
    }

    /// Begin at a part that can be decoded and is far enough from the end to play without a pause.
    fn take_first(&mut self, number: usize, media: &Media<'_>, manners: &Manners) {
        let mut left = 0.0;
        let mut begin = None;
        for (index, part) in media.parts.iter().enumerate().rev().take(MAX_FIRST) {
            left += part.seconds;
            if part.independent {
                begin = Some(index);
                if left >= media.hold_back {
                    break;
                }
            }
        }
        let track = &mut self.tracks[number];
        let Some(begin) = begin else { return };
        for part in &media.parts[begin..] {
            track.fetch(
                number,
                Want::Part,
                part.uri,
                Some(part.seconds),
                &manners.host,
            );
        }
        track.first = track.queue.len();
    }

    fn take_new(&mut self, number: usize, media: &Media<'_>, manners: &Manners, now: Instant) {
        let sums = &mut self.figures.sums;
        let track = &mut self.tracks[number];
        let begin = track.next.unwrap_or_default();
        let mut next = begin;
        for part in media.parts.iter().filter(|part| part.at >= begin) {
            let follows = part.at == next || part.at == (next.0 + 1, 0);
            if !follows {
                // How many there were of a segment that is gone nobody can say: at least one.
                let within = part.at.0 == next.0;
                sums.missed += if within {
                    u64::from(part.at.1 - next.1)
                } else {
                    1
                };
            }
            next = (part.at.0, part.at.1 + 1);
            let path = resolve(&track.path, part.uri, &manners.host);
            match track
                .hint
                .take_if(|(hint, _)| Some(&*hint) == path.as_ref())
            {
                Some((_, true)) => track.show(part.seconds, now, sums),
                Some((hint, false)) => track.told(&hint, part.seconds),
                None => {
                    let seconds = Some(part.seconds);
                    track.fetch(number, Want::Part, part.uri, seconds, &manners.host);
                }
            }
        }
        if Some(next) > track.next
            && let Some((hint, _)) = track.hint.take()
        {
            sums.wrong_hints += 1;
            track.queue.retain(|fetch| fetch.request.path != hint);
        }
        track.next = Some(next);
    }

    fn take_hint(&mut self, number: usize, media: &Media<'_>, manners: &Manners) {
        let track = &mut self.tracks[number];
        if track.hint.is_none()
            && let Some(uri) = media.hint
            && let Some(path) = resolve(&track.path, uri, &manners.host)
        {
            track.fetch(number, Want::Part, uri, None, &manners.host);
            track.hint = Some((path, false));
        }
    }

    fn on_media(&mut self, number: usize, now: Instant, out: &mut Vec<Request>) -> bool {
        let sums = &mut self.figures.sums;
        let track = &mut self.tracks[number];
        if let Some(seconds) = track.current.take().and_then(|fetch| fetch.seconds) {
            track.show(seconds, now, sums);
        } else {
            sums.hinted += 1;
            if let Some((_, arrived)) = &mut track.hint {
                *arrived = true;
            }
        }
        if track.first > 0 {
            track.first -= 1;
            if track.first == 0 {
                track.playhead.began = Some(now);
            }
        }
        let playing = |track: &Track| track.playhead.began.is_some();
        if self.tracks.iter().all(playing) {
            self.figures.started.get_or_insert(now - self.joined);
        }
        self.next_media(number, out);
        true
    }

    fn next_media(&mut self, number: usize, out: &mut Vec<Request>) {
        let track = &mut self.tracks[number];
        if track.current.is_none()
            && let Some(fetch) = track.queue.pop_front()
        {
            out.push(fetch.request.clone());
            track.current = Some(fetch);
        }
    }
}

impl Track {
    fn fetch(&mut self, number: usize, want: Want, uri: &str, seconds: Option<f64>, host: &str) {
        if let Some(path) = resolve(&self.path, uri, host) {
            let request = Request {
                lane: number * 2 + 1,
                want,
                path,
            };
            self.queue.push_back(Fetch { request, seconds });
        }
    }

    /// Media of a known duration is there.
    fn show(&mut self, seconds: f64, now: Instant, sums: &mut Sums) {
        let stood = self.playhead.add(seconds, now);
        sums.stalls += u64::from(stood > 0.0);
        sums.stalled_seconds += stood;
    }

    /// A playlist tells how long a part is that was asked for already.
    fn told(&mut self, path: &str, seconds: f64) {
        let fetches = self.current.iter_mut().chain(&mut self.queue);
        for fetch in fetches.filter(|fetch| fetch.request.path == path) {
            fetch.seconds = Some(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LISTING: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n0/live.m3u8?s=1\n";

    fn manners() -> Manners {
        Manners {
            host: "h".into(),
            audio: true,
            hints: true,
            deltas: true,
        }
    }

    /// A playlist of one segment with so many parts, and the next part as a hint.
    fn playlist(parts: u32) -> String {
        let mut text = "#EXTM3U\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,\
            PART-HOLD-BACK=0.6\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init.mp4\"\n"
            .to_owned();
        for number in 0..parts {
            let independent = if number == 0 { ",INDEPENDENT=YES" } else { "" };
            let uri = format!("7.{number}.m4s");
            writeln!(text, "#EXT-X-PART:DURATION=0.2,URI=\"{uri}\"{independent}").unwrap();
        }
        writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"7.{parts}.m4s\"").unwrap();
        text
    }

    struct Run {
        player: Player,
        out: Vec<Request>,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            let (mut out, now) = (Vec::new(), Instant::now());
            let player = Player::join("/a/manifest/video.m3u8".into(), now, &mut out);
            Self { player, out, now }
        }

        /// The request on a lane that waits for its answer.
        fn asked(&mut self, lane: usize) -> Request {
            let at = self.out.iter().position(|request| request.lane == lane);
            self.out.remove(at.expect("a request on this lane"))
        }

        fn answer(&mut self, lane: usize, body: &str) -> String {
            let asked = self.asked(lane);
            let answer = Answer {
                status: 200,
                len: body.len(),
                body: body.into(),
                ..Answer::default()
            };
            let good = self
                .player
                .on_answer(&asked, &answer, &manners(), self.now, &mut self.out);
            assert!(good, "{:?}", self.player.figures.failure);
            asked.path
        }

        fn later(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }
    }

    fn playing() -> Run {
        let mut run = Run::new();
        run.answer(0, LISTING);
        assert_eq!(run.answer(0, &playlist(3)), "/a/manifest/0/live.m3u8?s=1");
        for name in ["init.mp4", "7.0.m4s", "7.1.m4s", "7.2.m4s"] {
            assert!(run.player.figures.started.is_none());
            assert_eq!(run.answer(1, "x"), format!("/a/manifest/0/{name}"));
        }
        assert!(run.player.figures.started.is_some());
        run
    }

    #[test]
    fn player_starts_at_a_keyframe_and_asks_for_what_is_hinted() {
        let mut run = playing();
        let paths: Vec<_> = run
            .out
            .iter()
            .map(|request| request.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "/a/manifest/0/live.m3u8?s=1&_HLS_msn=7&_HLS_part=3&_HLS_skip=YES",
                "/a/manifest/0/7.3.m4s",
            ]
        );
        run.later(200);
        run.answer(1, "part");
        run.answer(0, &playlist(4));
        assert_eq!(run.answer(1, "part"), "/a/manifest/0/7.4.m4s");
        let sums = run.player.figures.sums;
        assert_eq!((sums.parts, sums.hinted), (5, 2));
        assert_eq!((sums.missed, sums.wrong_hints, sums.stalls), (0, 0, 0));
    }

    #[test]
    fn parts_that_were_gone_before_they_were_told_of_are_missed() {
        let mut run = playing();
        run.later(200);
        let gone = playlist(8).replace("7.3.m4s", "other.m4s");
        run.answer(0, &gone);
        assert_eq!(run.player.figures.sums.wrong_hints, 1);
        let later = "#EXTM3U\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
            #EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-PART:DURATION=0.2,URI=\"9.0.m4s\"\n";
        run.answer(0, later);
        assert_eq!(run.player.figures.sums.missed, 1);
    }

    #[test]
    fn media_that_comes_after_all_was_played_is_a_stall() {
        let mut run = playing();
        run.later(900);
        run.answer(1, "part");
        run.answer(0, &playlist(4));
        let sums = run.player.figures.sums;
        assert_eq!(sums.stalls, 1);
        assert!((sums.stalled_seconds - 0.3).abs() < 1e-6);
    }

    #[test]
    fn refusals_are_counted_and_a_refused_part_is_missed() {
        let mut run = playing();
        let hinted = run.asked(1);
        assert!(run.player.on_failure(&hinted, "http 404", &mut run.out));
        run.answer(0, &playlist(4));
        let told = run.asked(1);
        assert_eq!(
            told.path, "/a/manifest/0/7.3.m4s",
            "asked again once it is told of"
        );
        assert!(run.player.on_failure(&told, "http 404", &mut run.out));
        let sums = run.player.figures.sums;
        assert_eq!((sums.errors, sums.missed, sums.wrong_hints), (1, 1, 1));
        assert_eq!(run.player.figures.failure.as_deref(), Some("http 404"));
    }

    #[test]
    fn redirects_are_followed_but_not_for_ever() {
        let mut run = Run::new();
        let away = Answer {
            status: 302,
            location: Some("?n=1".into()),
            ..Answer::default()
        };
        let mut good = true;
        for _ in 0..=MAX_REDIRECTS {
            assert!(good);
            let asked = run.asked(0);
            good = run
                .player
                .on_answer(&asked, &away, &manners(), run.now, &mut run.out);
        }
        assert!(!good);
    }
}
