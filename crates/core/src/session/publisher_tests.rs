use super::*;
use std::time::Duration;

/// What OBS, browsers and the Millicast SDK have in common; `video` are the attributes that differ.
fn offer(video: &str) -> String {
    let transport = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:F7gI\r\na=ice-pwd:x9cml/YzichV2+XlhiMu8g7i\r\n\
        a=fingerprint:sha-256 D1:2C:BE:AD:C4:F6:64:5C:25:16:11:9C:AF:E7:0F:73:79:36:4E:9C:1E:15:\
        54:39:0C:06:8B:ED:96:86:00:39\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendonly\r\n";
    format!(
        "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n{transport}a=mid:1\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
         a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
         a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n\
         a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
         a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n{video}"
    )
}

fn answer(video: &str) -> (Publisher, String) {
    let config = SessionConfig::new(Duration::from_secs(15), Duration::from_secs(30))
        .expect("a configuration");
    let credentials = Credentials {
        ufrag: "abcd".into(),
        password: "0123456789012345678901".into(),
    };
    let addresses = Addresses {
        udp: vec!["127.0.0.1:8189".parse().expect("an address")],
        tcp: Vec::new(),
    };
    let options = PublishOptions {
        codec: None,
        audio: true,
        video: true,
    };
    let now = Instant::now();
    Publisher::answer(&config, credentials, addresses, &offer(video), options, now)
        .expect("a publisher")
}

#[test]
fn every_simulcast_layer_that_is_offered_is_accepted() {
    // OBS with four layers; it gives up when fewer are accepted.
    let rids = "a=rid:0 send\r\na=rid:1 send\r\na=rid:2 send\r\na=rid:3 send\r\n\
                a=simulcast:send 0;1;2;3\r\n";
    let (_, answer) = answer(rids);
    for rid in 0..4 {
        assert!(answer.contains(&format!("a=rid:{rid} recv")), "{answer}");
    }
    assert!(answer.contains("a=simulcast:recv 0;1;2;3"), "{answer}");
}

#[test]
fn streams_of_an_ssrc_group_are_layers_with_retransmission() {
    let (mut publisher, answer) = answer(
        "a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:c\r\na=ssrc:12 cname:c\r\n\
         a=ssrc:100 cname:c\r\na=ssrc:101 cname:c\r\na=ssrc-group:FID 100 101\r\n\
         a=ssrc:102 cname:c\r\na=ssrc:103 cname:c\r\na=ssrc-group:FID 102 103\r\n\
         a=ssrc-group:SIM 11 100 102\r\n",
    );
    assert!(!answer.contains("a=simulcast"), "it was not asked for so");
    let mut layers = Vec::new();
    for ssrc in [11, 100, 102] {
        let index = publisher.stream_of(Ssrc::from(ssrc)).expect("it is known");
        layers.push(publisher.streams[index].name.to_string());
    }
    assert_eq!(layers, ["0", "1", "2"]);
    assert_eq!(publisher.streams.len(), 3);
}

#[test]
fn dependency_descriptor_is_accepted_from_publishers() {
    let (_, answer) = answer("");
    assert!(answer.contains("a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/"));
    assert!(
        answer.contains("a=extmap-allow-mixed"),
        "it is longer than 16 bytes"
    );
}

#[test]
fn ceiling_is_told_again_and_again_and_so_is_its_end() {
    let (mut publisher, _) = answer("a=ssrc:11 cname:c\r\na=ssrc-group:SIM 11 100\r\n");
    let t0 = Instant::now();
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    let half = Some(Bitrate::from_kbps(500));
    assert!(!publisher.keep_to(half, at(0)), "nothing to say it about");
    publisher.stream_of(Ssrc::from(11)).expect("it is known");
    assert!(!publisher.keep_to(None, at(0)), "there was none");
    assert!(publisher.keep_to(half, at(0)));
    assert!(!publisher.keep_to(half, at(250)));
    assert!(publisher.keep_to(Some(Bitrate::from_kbps(400)), at(500)));
    assert!(!publisher.keep_to(Some(Bitrate::from_kbps(400)), at(1250)));
    assert!(publisher.keep_to(Some(Bitrate::from_kbps(400)), at(1500)));
    let told = (0..80).filter(|n| publisher.keep_to(None, at(1750 + 250 * n)));
    let told: Vec<u64> = told.collect();
    assert_eq!(told, [0, 4, 8, 12, 16], "at once, and in case it is lost");
}
