//! The HLS server over loopback: a source made by hand, players that are sockets.

mod player;
mod source;

use player::{Answer, Player};
use source::House;

/// What must stand in every answer.
fn check_cors(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn playlists_are_what_an_independent_parser_reads() {
    let (_house, mut player) = House::playing(9_000);
    let answer = player.get("/x/manifest/video.m3u8");
    assert_eq!(answer.status, 200);
    check_cors(&answer);
    let m3u8_rs::Playlist::MasterPlaylist(master) =
        m3u8_rs::parse_playlist_res(&answer.body).unwrap()
    else {
        panic!("a multivariant playlist");
    };
    let [variant] = &master.variants[..] else {
        panic!("one variant: {:?}", master.variants);
    };
    assert_eq!(variant.codecs.as_deref(), Some("avc1.64001f,mp4a.40.2"));
    assert_eq!(
        variant.resolution.map(|size| (size.width, size.height)),
        Some((1280, 720))
    );
    assert_eq!(variant.frame_rate, Some(30.0));
    assert!(variant.average_bandwidth.unwrap() <= variant.bandwidth);
    assert_eq!(
        variant.audio.as_deref(),
        Some(&*master.alternatives[0].group_id)
    );

    for rendition in ["video", "audio"] {
        let answer = player.get(&format!("/x/{rendition}/live.m3u8"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/vnd.apple.mpegurl")
        );
        let m3u8_rs::Playlist::MediaPlaylist(media) =
            m3u8_rs::parse_playlist_res(&answer.body).unwrap()
        else {
            panic!("a media playlist");
        };
        assert_eq!(media.target_duration, 2);
        assert!(media.segments.len() >= 4 && !media.end_list);
        for segment in &media.segments {
            assert!(segment.duration.round() <= 2.0);
            let bytes = player.get(&format!("/x/{rendition}/{}", segment.uri));
            assert_eq!((bytes.status, &bytes.body[4..8]), (200, &b"prft"[..]));
            assert!(bytes.header("cache-control").unwrap().contains("immutable"));
        }
        let map = media.segments[0].map.as_ref().expect("a map");
        let init = player.get(&format!("/x/{rendition}/{}", map.uri));
        assert_eq!(&init.body[4..8], b"ftyp");
    }
}

#[test]
fn parts_of_a_playlist_are_the_bytes_of_its_segment() {
    let (_house, mut player) = House::playing(5_000);
    let text = player.get("/x/video/live.m3u8").text();
    let segment = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let mut parts = Vec::new();
    // What stands above a segment is its own.
    let above = text.lines().take_while(|&line| line != segment);
    for line in above.filter(|line| line.starts_with("#EXT-X-PART:")) {
        let uri = line.split('"').nth(1).unwrap();
        parts.extend(player.get(&format!("/x/video/{uri}")).body);
    }
    assert_eq!(parts, player.get(&format!("/x/video/{segment}")).body);
}

#[test]
fn blocking_reload_answers_with_the_part_that_was_asked_for() {
    let (house, mut player) = House::playing(4_100);
    let text = player.get("/x/video/live.m3u8").text();
    let (open, parts) = player::position(&text);
    let waiting = format!("/x/video/live.m3u8?_HLS_msn={open}&_HLS_part={parts}");
    player.send(&waiting);
    assert!(player.nothing_comes(), "the part is not there yet");
    house.play(4_100, 4_500);
    let answer = player.receive();
    assert_eq!(answer.status, 200);
    let (open_now, parts_now) = player::position(&answer.text());
    assert!((open_now, parts_now) > (open, parts));
    assert_eq!(
        player.get(&waiting).text(),
        player.get("/x/video/live.m3u8").text()
    );
}

#[test]
fn all_who_wait_for_a_part_get_it() {
    let (house, mut first) = House::playing(4_400);
    let text = first.get("/x/video/live.m3u8").text();
    let hint = text.lines().find(|line| line.contains("PRELOAD-HINT"));
    let path = format!("/x/video/{}", hint.unwrap().split('"').nth(1).unwrap());
    let mut players: Vec<_> = (0..30).map(|_| Player::new(&house)).collect();
    players.push(first);
    for player in &mut players {
        player.send(&path);
    }
    assert!(players[0].nothing_comes());
    house.play(4_400, 4_700);
    let mut answers = players.iter_mut().map(Player::receive);
    let part = answers.next().unwrap();
    assert_eq!((part.status, &part.body[4..8]), (200, &b"prft"[..]));
    assert!(answers.all(|answer| answer.body == part.body));
}

#[test]
fn preload_hint_is_answered_when_its_part_is_there() {
    let (house, mut player) = House::playing(4_100);
    let text = player.get("/x/video/live.m3u8").text();
    let uri = player::hint(&text);
    player.send(&format!("/x/video/{uri}"));
    assert!(player.nothing_comes());
    house.play(4_100, 4_500);
    let part = player.receive();
    assert_eq!((part.status, &part.body[4..8]), (200, &b"prft"[..]));
    assert!(
        player
            .get("/x/video/live.m3u8")
            .text()
            .contains(&format!("URI=\"{uri}\""))
    );
}

/// The hint of the last playlist of a segment that a keyframe then ends early.
#[test]
fn preload_hint_is_answered_with_the_first_part_of_the_next_segment() {
    let (house, mut player) = House::playing(7_800);
    let text = player.get("/x/video/live.m3u8").text();
    let (open, parts) = player::position(&text);
    assert_eq!(parts, 9, "the next picture may begin a segment or not");
    let hint = player::hint(&text);
    player.send(&format!("/x/video/{hint}"));
    assert!(player.nothing_comes());
    house.cut(7_800, 8_000);
    let part = player.receive();
    assert_eq!((part.status, &part.body[4..8]), (200, &b"prft"[..]));
    let text = player.get("/x/video/live.m3u8").text();
    let (open_now, parts_now) = player::position(&text);
    assert_eq!((open_now, parts_now), (open + 1, 1));
    let after = text.split(&format!("\n{open}.m4s\n")).nth(1).unwrap();
    let first = after.lines().find(|line| line.starts_with("#EXT-X-PART:"));
    assert_eq!(first.unwrap().split('"').nth(1), Some(&*hint));
    assert_eq!(player.get(&format!("/x/video/{hint}")).body, part.body);
}

#[test]
fn numbers_that_are_absurd_or_malformed_are_refused_at_once() {
    let (_house, mut player) = House::playing(4_100);
    let (open, _) = player::position(&player.get("/x/video/live.m3u8").text());
    for query in [
        format!("_HLS_msn={}", open + 3),
        format!("_HLS_msn={open}&_HLS_part=90"),
        "_HLS_part=1".into(),
        "_HLS_msn=x".into(),
        "_HLS_msn=-1".into(),
        "a=%22&b=\"".into(),
    ] {
        let answer = player.get(&format!("/x/video/live.m3u8?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        check_cors(&answer);
    }
    for path in [
        "/x/video/1.m4s",
        "/x/none/live.m3u8",
        "/x/video/../1.m4s",
        "/",
        "/x/video/1.1.m4s",
        "/x/video/part-1.m4s",
    ] {
        let answer = player.get(path);
        assert_eq!(answer.status, 404, "{path}");
        check_cors(&answer);
    }
}

#[test]
fn token_is_kept_in_every_address_and_directives_are_not() {
    let (house, mut player) = House::playing(5_000);
    let master = player
        .get("/x/manifest/video.m3u8?token=a.b%3D&_HLS_skip=YES")
        .text();
    for line in master.lines().filter(|line| line.contains("live.m3u8")) {
        assert!(line.contains("live.m3u8?token=a.b%3D&_session="), "{line}");
    }
    let media = player
        .get("/x/video/live.m3u8?token=a.b%3D&_session=5&_HLS_msn=1")
        .text();
    let uris: Vec<_> = media
        .lines()
        .filter(|line| line.contains(".m4s") || line.contains(".mp4"))
        .collect();
    assert!(uris.len() > 20);
    for line in uris {
        assert!(
            line.contains("?token=a.b%3D") && !line.contains("_session"),
            "{line}"
        );
        assert!(!line.contains("_HLS"));
    }
    let mut asked = house.asked();
    asked.retain(|ask| !ask.query.is_empty());
    assert!(
        asked
            .iter()
            .all(|ask| ask.query == [("token".to_owned(), "a.b=".to_owned())])
    );
    assert_eq!(asked.len(), 1, "one question for all requests of a token");
}

#[test]
fn connection_that_was_let_in_is_let_in_to_nothing_else() {
    let (house, mut player) = House::playing(5_000);
    let known = house.asked().len();
    for _ in 0..3 {
        assert_eq!(player.get("/x/video/live.m3u8?token=1").status, 200);
    }
    assert_eq!(house.asked().len(), known + 1);
    assert_eq!(
        player.get("/no-forbidden/video/live.m3u8?token=1").status,
        403
    );
    assert_eq!(player.get("/x/video/live.m3u8?token=2").status, 200);
    let elsewhere = "Origin: https://elsewhere.example\r\n";
    let answer = player.get_with("/x/video/live.m3u8?token=2", elsewhere);
    assert_eq!(answer.status, 200);
    let asked = house.asked().split_off(known + 1);
    let last = asked.last().unwrap();
    assert_eq!(asked.len(), 3);
    assert_eq!(last.query, [("token".to_owned(), "2".to_owned())]);
    assert_eq!(last.origin.as_deref(), Some("https://elsewhere.example"));
}

#[test]
fn refusals_have_their_status_and_may_be_read_by_any_page() {
    let house = House::live();
    let mut player = Player::new(&house);
    for (id, status) in [
        ("unauthorized", 401),
        ("forbidden", 403),
        ("not_found", 404),
        ("other", 503),
    ] {
        for path in ["manifest/video.m3u8", "video/live.m3u8", "video/1.m4s"] {
            let answer = player.get(&format!("/no-{id}/{path}"));
            assert_eq!(answer.status, status, "{id} {path}");
            check_cors(&answer);
        }
    }
    let answer = player.get("/off/manifest/video.m3u8");
    assert_eq!(answer.status, 404, "a stream that is not live");
}

#[test]
fn unchanged_playlist_is_not_sent_again() {
    let (house, mut player) = House::playing(4_100);
    let first = player.get("/x/video/live.m3u8");
    let etag = first.header("etag").unwrap().to_owned();
    let again = player.get_with("/x/video/live.m3u8", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let any = player.get_with("/x/video/live.m3u8", "If-None-Match: *\r\n");
    assert_eq!((any.status, any.body.len()), (304, 0));
    house.play(4_100, 4_500);
    let later = player.get_with("/x/video/live.m3u8", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!(later.status, 200);
    assert_ne!(later.header("etag"), Some(&*etag));
}

#[test]
fn gzip_is_for_playlists_and_those_that_take_it() {
    use std::io::Read;
    let (_house, mut player) = House::playing(5_000);
    let plain = player.get("/x/video/live.m3u8");
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    let packed = player.get_with("/x/video/live.m3u8", "Accept-Encoding: br, gzip\r\n");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len() / 3);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.text());
    assert_ne!(packed.header("etag"), plain.header("etag"));
}

#[test]
fn head_and_options_have_no_body_and_other_methods_are_refused() {
    let (_house, mut player) = House::playing(5_000);
    let get = player.get("/x/video/live.m3u8");
    let head = player.request("HEAD", "/x/video/live.m3u8", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    let options = player.request(
        "OPTIONS",
        "/x/video/live.m3u8",
        "Origin: https://a.example\r\n",
    );
    assert_eq!((options.status, options.body.len()), (204, 0));
    check_cors(&options);
    assert!(
        options
            .header("access-control-allow-methods")
            .unwrap()
            .contains("GET")
    );
    assert_eq!(
        player.request("DELETE", "/x/video/live.m3u8", "").status,
        405
    );
    assert_eq!(
        player.get("/x/video/live.m3u8").status,
        200,
        "the connection goes on"
    );
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let (_house, mut player) = House::playing(5_000);
    for path in [
        "/x/video/live.m3u8",
        "/x/none/live.m3u8",
        "/x/audio/live.m3u8",
    ] {
        player.send(path);
    }
    let statuses = [
        player.receive().status,
        player.receive().status,
        player.receive().status,
    ];
    assert_eq!(statuses, [200, 404, 200]);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let house = House::live();
    for (bytes, status) in [
        (
            "POST /x/video/live.m3u8 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            413,
        ),
        (
            format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(20_000)),
            431,
        ),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            404,
        ),
    ] {
        let mut player = Player::new(&house);
        player.send_raw(bytes.as_bytes());
        assert_eq!(player.receive().status, status);
        assert!(player.is_closed());
    }
}

#[test]
fn players_are_counted_by_session() {
    let (house, mut player) = House::playing(5_000);
    for session in ["1", "2", "2"] {
        player.get(&format!("/x/video/live.m3u8?_session={session}"));
        player.get(&format!("/x/audio/live.m3u8?_session={session}"));
    }
    let figures = house.figures();
    assert_eq!(figures.len(), 1);
    assert_eq!((&*figures[0].stream, figures[0].viewers), ("a/x", 2));
}

#[test]
fn first_player_waits_until_there_is_something_to_play() {
    let house = House::live();
    let mut player = Player::new(&house);
    player.send("/x/manifest/video.m3u8");
    assert!(player.nothing_comes());
    house.play(0, 3_000);
    assert_eq!(player.receive().status, 200);
}
