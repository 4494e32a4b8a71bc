//! Multivariant playlists (RFC 8216bis §4.4.6): which renditions there are.

use std::fmt::Write;

use super::QUERY;

/// A video or an audio rendition.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendition {
    /// Its folder.
    pub name: String,
    /// RFC 6381 name of its codec.
    pub codec: String,
    /// Highest bits a second of a segment so far.
    pub peak_bps: u64,
    /// Bits a second over all segments.
    pub average_bps: u64,
    /// What it carries.
    pub media: Media,
}

/// What a rendition carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Media {
    /// Pictures.
    Video {
        /// Width and height in pixels; zero when not known.
        resolution: (u16, u16),
        /// Frames a second in thousandths.
        milli_fps: u32,
    },
    /// Sound.
    Audio {
        /// Channels.
        channels: u8,
    },
}

/// The text of a multivariant playlist. Audio renditions make one group each, the first being the
/// default; every video rendition is listed with every group, best picture first.
pub fn write(renditions: &[Rendition]) -> String {
    let is_video = |rendition: &&Rendition| matches!(rendition.media, Media::Video { .. });
    let mut videos: Vec<_> = renditions.iter().filter(is_video).collect();
    videos.sort_by_key(|video| std::cmp::Reverse(video.peak_bps));
    let audios: Vec<_> = renditions.iter().filter(|r| !is_video(r)).collect();
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:9\n");
    if videos.is_empty() {
        for audio in audios {
            stream(&mut text, audio, None);
        }
        return text;
    }
    for (index, audio) in audios.iter().enumerate() {
        let Media::Audio { channels } = audio.media else {
            continue;
        };
        let default = if index == 0 { "YES" } else { "NO" };
        let name = &audio.name;
        writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{name}\",NAME=\"{name}\",DEFAULT={default},\
             AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"../{name}/live.m3u8{QUERY}\""
        )
        .expect("a string takes all");
    }
    if audios.is_empty() {
        for video in &videos {
            stream(&mut text, video, None);
        }
    }
    for audio in audios {
        for video in &videos {
            stream(&mut text, video, Some(audio));
        }
    }
    text
}

fn stream(text: &mut String, main: &Rendition, audio: Option<&Rendition>) {
    let peak = main.peak_bps + audio.map_or(0, |audio| audio.peak_bps);
    let average = main.average_bps + audio.map_or(0, |audio| audio.average_bps);
    let codecs = match audio {
        Some(audio) => format!("{},{}", main.codec, audio.codec),
        None => main.codec.clone(),
    };
    let mut attribute = |args: std::fmt::Arguments| {
        text.write_fmt(args).expect("a string takes all");
    };
    attribute(format_args!(
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\"",
        peak.max(1),
        average.max(1)
    ));
    if let Media::Video {
        resolution: (width, height),
        milli_fps,
    } = main.media
    {
        if width > 0 && height > 0 {
            attribute(format_args!(",RESOLUTION={width}x{height}"));
        }
        if milli_fps > 0 {
            let (whole, rest) = (milli_fps / 1000, milli_fps % 1000);
            attribute(format_args!(",FRAME-RATE={whole}.{rest:03}"));
        }
    }
    if let Some(audio) = audio {
        attribute(format_args!(",AUDIO=\"{}\"", audio.name));
    }
    attribute(format_args!("\n../{}/live.m3u8{QUERY}\n", main.name));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, height: u16, bps: u64) -> Rendition {
        Rendition {
            name: name.into(),
            codec: "avc1.64001f".into(),
            peak_bps: bps,
            average_bps: bps / 2,
            media: Media::Video {
                resolution: (height * 16 / 9, height),
                milli_fps: 29_970,
            },
        }
    }

    fn audio(name: &str, codec: &str) -> Rendition {
        Rendition {
            name: name.into(),
            codec: codec.into(),
            peak_bps: 128_000,
            average_bps: 127_000,
            media: Media::Audio { channels: 2 },
        }
    }

    #[test]
    fn every_layer_is_offered_with_every_audio_group() {
        let text = write(&[
            audio("audio-aac", "mp4a.40.2"),
            video("video-l", 360, 500_000),
            audio("audio", "opus"),
            video("video-h", 720, 2_500_000),
        ]);
        let expected = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio-aac\",NAME=\"audio-aac\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"../audio-aac/live.m3u8{QUERY}\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"../audio/live.m3u8{QUERY}\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2628000,AVERAGE-BANDWIDTH=1377000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO=\"audio-aac\"\n\
            ../video-h/live.m3u8{QUERY}\n\
            #EXT-X-STREAM-INF:BANDWIDTH=628000,AVERAGE-BANDWIDTH=377000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO=\"audio-aac\"\n\
            ../video-l/live.m3u8{QUERY}\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2628000,AVERAGE-BANDWIDTH=1377000,CODECS=\"avc1.64001f,opus\",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO=\"audio\"\n\
            ../video-h/live.m3u8{QUERY}\n\
            #EXT-X-STREAM-INF:BANDWIDTH=628000,AVERAGE-BANDWIDTH=377000,CODECS=\"avc1.64001f,opus\",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO=\"audio\"\n\
            ../video-l/live.m3u8{QUERY}\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn sound_alone_is_a_stream_of_its_own() {
        let text = write(&[audio("audio", "mp4a.40.2")]);
        assert!(text.ends_with(&format!(
            "AVERAGE-BANDWIDTH=127000,CODECS=\"mp4a.40.2\"\n../audio/live.m3u8{QUERY}\n"
        )));
        assert!(!text.contains("EXT-X-MEDIA"));
    }
}
