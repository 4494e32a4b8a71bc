//! What a player has to know of a playlist (RFC 8216bis §4.4); the rest is passed over.

/// The renditions that a player takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Multivariant<'a> {
    pub(super) video: &'a str,
    /// Unless it is inside of the video's segments.
    pub(super) audio: Option<&'a str>,
}

/// A part, in the order of the playlist.
#[derive(Debug, PartialEq)]
pub(super) struct Part<'a> {
    /// Media sequence number of its segment, and its index there.
    pub(super) at: (u64, u32),
    pub(super) uri: &'a str,
    pub(super) seconds: f64,
    pub(super) independent: bool,
}

/// A media playlist.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Media<'a> {
    pub(super) can_block: bool,
    pub(super) can_skip: bool,
    pub(super) hold_back: f64,
    pub(super) map: Option<&'a str>,
    pub(super) parts: Vec<Part<'a>>,
    pub(super) hint: Option<&'a str>,
    /// The part after the last one.
    pub(super) next: (u64, u32),
    pub(super) ended: bool,
}

/// A value of an attribute list (§4.2), without its quotes.
fn attribute<'a>(mut list: &'a str, name: &str) -> Option<&'a str> {
    while let Some((key, rest)) = list.split_once('=') {
        let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
            let (value, rest) = quoted.split_once('"')?;
            (value, rest.strip_prefix(',').unwrap_or(rest))
        } else {
            rest.split_once(',').unwrap_or((rest, ""))
        };
        if key.trim() == name {
            return Some(value);
        }
        list = rest;
    }
    None
}

/// The first variant, with the default audio of its group.
pub(super) fn multivariant(text: &str) -> Option<Multivariant<'_>> {
    let mut variant: Option<(&str, &str)> = None;
    let mut stream = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            stream = Some(attributes);
        } else if !line.starts_with('#')
            && let Some(attributes) = stream.take()
        {
            variant = variant.or(Some((attributes, line)));
        }
    }
    let (attributes, video) = variant?;
    let group = attribute(attributes, "AUDIO");
    let mut renditions: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#EXT-X-MEDIA:"))
        .filter(|media| attribute(media, "TYPE") == Some("AUDIO"))
        .filter(|media| group.is_some() && attribute(media, "GROUP-ID") == group)
        .collect();
    renditions.sort_by_key(|media| attribute(media, "DEFAULT") != Some("YES"));
    let audio = renditions.first().and_then(|media| attribute(media, "URI"));
    Some(Multivariant { video, audio })
}

/// A media playlist; none if it is something else.
pub(super) fn media(text: &str) -> Option<Media<'_>> {
    if !text.starts_with("#EXTM3U") || text.contains("#EXT-X-STREAM-INF") {
        return None;
    }
    let mut media = Media::default();
    let (mut segment, mut index) = (0_u64, 0_u32);
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let Some(tag) = line.strip_prefix("#EXT") else {
            if !line.starts_with('#') {
                (segment, index) = (segment + 1, 0);
            }
            continue;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "-X-PART" => {
                let uri = attribute(value, "URI")?;
                media.parts.push(Part {
                    at: (segment, index),
                    uri,
                    seconds: attribute(value, "DURATION")?.parse().ok()?,
                    independent: attribute(value, "INDEPENDENT") == Some("YES"),
                });
                index += 1;
            }
            "-X-PRELOAD-HINT" if attribute(value, "TYPE") == Some("PART") => {
                media.hint = attribute(value, "URI");
            }
            "-X-MEDIA-SEQUENCE" => segment += value.parse::<u64>().ok()?,
            "-X-SKIP" => segment += attribute(value, "SKIPPED-SEGMENTS")?.parse::<u64>().ok()?,
            "-X-SERVER-CONTROL" => {
                media.can_block = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
                media.can_skip = attribute(value, "CAN-SKIP-UNTIL").is_some();
                let back = attribute(value, "PART-HOLD-BACK").and_then(|back| back.parse().ok());
                media.hold_back = back.unwrap_or_default();
            }
            "-X-MAP" => media.map = attribute(value, "URI"),
            "-X-ENDLIST" => media.ended = true,
            _ => {}
        }
    }
    media.next = (segment, index);
    Some(media)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LISTING: &str = "#EXTM3U\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a,b\",NAME=\"x\",DEFAULT=NO,URI=\"other.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a,b\",NAME=\"y\",DEFAULT=YES,URI=\"aac.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"c\",NAME=\"z\",DEFAULT=YES,URI=\"opus.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.42c01f,mp4a.40.2\",AUDIO=\"a,b\"\n\
        \n\
        video.m3u8?x\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"c\"\n\
        video.m3u8\n";

    #[test]
    fn first_variant_comes_with_the_default_audio_of_its_group() {
        let found = multivariant(LISTING).unwrap();
        assert_eq!(
            (found.video, found.audio),
            ("video.m3u8?x", Some("aac.m3u8"))
        );
        let alone = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
        assert_eq!(multivariant(alone).unwrap().audio, None);
        assert_eq!(multivariant("<html>"), None);
    }

    #[test]
    fn parts_are_numbered_through_skipped_and_whole_segments() {
        let text = "#EXTM3U\n#EXT-X-VERSION:9\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=0.6\n\
            #EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n\
            #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.0,\n13.m4s\n\
            #EXT-X-PART:DURATION=0.2,URI=\"14.0.m4s\",INDEPENDENT=YES\n\
            #EXTINF:0.2,\n14.m4s\n\
            #EXT-X-PART:DURATION=0.2,URI=\"15.0.m4s\",INDEPENDENT=YES\n\
            #EXT-X-PART:DURATION=0.1,URI=\"15.1.m4s\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"15.2.m4s\"\n";
        let media = media(text).unwrap();
        let numbers: Vec<_> = media.parts.iter().map(|part| part.at).collect();
        assert_eq!(numbers, [(14, 0), (15, 0), (15, 1)]);
        assert_eq!((media.next, media.hint), ((15, 2), Some("15.2.m4s")));
        assert_eq!(media.map, Some("init.mp4"));
        assert!(media.can_block && media.can_skip && !media.ended);
        assert!((media.hold_back - 0.6).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_text_may_come(lines in prop::collection::vec("(#EXT-X-(PART|SKIP|MEDIA-SEQUENCE|MAP):)?[A-Z=\",0-9.-]{0,30}", 0..10)) {
            let text = format!("#EXTM3U\n{}", lines.join("\n"));
            multivariant(&text);
            media(&text);
        }
    }
}
