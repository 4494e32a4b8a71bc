//! Media playlists, line by line (RFC 8216bis §4.4).

use std::fmt::Write;

use super::QUERY;

/// What stands above the segments.
#[derive(Copy, Clone, Debug)]
pub struct Header {
    /// `EXT-X-TARGETDURATION` in seconds.
    pub target_duration: u32,
    /// `PART-TARGET` in microseconds.
    pub part_target_us: u64,
    /// `PART-HOLD-BACK` in microseconds.
    pub part_hold_back_us: u64,
    /// `EXT-X-MEDIA-SEQUENCE`.
    pub media_sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuity_sequence: u64,
    /// Every segment starts with a keyframe.
    pub independent: bool,
    /// Segments that this delta update leaves out; zero in a full playlist.
    pub skipped: u64,
    /// The playlist only grows: `EXT-X-PLAYLIST-TYPE:EVENT`.
    pub event: bool,
}

/// A part: a line below the last complete segment it belongs to.
#[derive(Copy, Clone, Debug)]
pub struct Part {
    /// Its number in the rendition.
    pub number: u64,
    /// Its duration in microseconds.
    pub duration_us: u64,
    /// It starts with a keyframe.
    pub independent: bool,
}

/// A complete segment.
#[derive(Copy, Clone, Debug)]
pub struct Segment {
    /// Media sequence number.
    pub number: u64,
    /// Its duration in microseconds.
    pub duration_us: u64,
}

/// How many target durations from the end a delta update may leave segments out (§6.2.5.1).
pub const SKIP_BOUNDARY: u32 = 6;
/// How many target durations players that know no parts stay behind the end (§4.4.3.8).
pub const HOLD_BACK: u32 = 3;

/// File name of a segment.
pub fn segment_name(number: u64) -> String {
    format!("{number}.m4s")
}

/// File name of a part. Parts are counted through all segments, as the next one may belong to this
/// segment or, with a keyframe, to the next, and is hinted at before anybody knows.
pub fn part_name(number: u64) -> String {
    format!("part-{number}.m4s")
}

/// File name of an initialization segment; `number` is that of the first segment it is for.
pub fn init_name(number: u64) -> String {
    format!("init-{number}.mp4")
}

/// Seconds with the digits that a microsecond needs and no trailing zeros but one.
fn seconds(us: u64) -> String {
    let mut text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    while text.ends_with('0') && !text.ends_with(".0") {
        text.pop();
    }
    text
}

/// A media playlist that is being written.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
}

macro_rules! line {
    ($writer:expr, $($arg:tt)*) => {
        writeln!($writer.text, $($arg)*).expect("a string takes all")
    };
}

impl Writer {
    /// An empty text, for the lines of some segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// The head of a playlist.
    pub fn header(&mut self, header: &Header) {
        let target = header.target_duration;
        line!(self, "#EXTM3U");
        line!(self, "#EXT-X-VERSION:9");
        line!(self, "#EXT-X-TARGETDURATION:{target}");
        line!(
            self,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,HOLD-BACK={}.0,PART-HOLD-BACK={}",
            target * SKIP_BOUNDARY,
            target * HOLD_BACK,
            seconds(header.part_hold_back_us)
        );
        line!(
            self,
            "#EXT-X-PART-INF:PART-TARGET={}",
            seconds(header.part_target_us)
        );
        if header.event {
            line!(self, "#EXT-X-PLAYLIST-TYPE:EVENT");
        }
        line!(self, "#EXT-X-MEDIA-SEQUENCE:{}", header.media_sequence);
        line!(
            self,
            "#EXT-X-DISCONTINUITY-SEQUENCE:{}",
            header.discontinuity_sequence
        );
        if header.independent {
            line!(self, "#EXT-X-INDEPENDENT-SEGMENTS");
        }
        if header.skipped > 0 {
            line!(self, "#EXT-X-SKIP:SKIPPED-SEGMENTS={}", header.skipped);
        }
    }

    /// Another publisher or codec begins.
    pub fn discontinuity(&mut self) {
        line!(self, "#EXT-X-DISCONTINUITY");
    }

    /// The initialization segment of what follows.
    pub fn map(&mut self, number: u64) {
        line!(self, "#EXT-X-MAP:URI=\"{}{QUERY}\"", init_name(number));
    }

    /// When the next segment was captured, in microseconds since 1970.
    pub fn program_date_time(&mut self, unix_us: i64) {
        line!(self, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(unix_us));
    }

    /// A part.
    pub fn part(&mut self, part: Part) {
        line!(
            self,
            "#EXT-X-PART:DURATION={},URI=\"{}{QUERY}\"{}",
            seconds(part.duration_us),
            part_name(part.number),
            if part.independent {
                ",INDEPENDENT=YES"
            } else {
                ""
            }
        );
    }

    /// A complete segment.
    pub fn segment(&mut self, segment: Segment) {
        line!(self, "#EXTINF:{},", seconds(segment.duration_us));
        line!(self, "{}{QUERY}", segment_name(segment.number));
    }

    /// Lines of segments that were written before.
    pub fn lines(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// The part that comes next.
    pub fn preload_hint(&mut self, number: u64) {
        let name = part_name(number);
        line!(self, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}{QUERY}\"");
    }

    /// Where another rendition is; `part` is the last one of its open segment.
    pub fn rendition_report(&mut self, rendition: &str, segment: u64, part: Option<u32>) {
        let uri = format!("../{rendition}/live.m3u8");
        match part {
            Some(part) => line!(
                self,
                "#EXT-X-RENDITION-REPORT:URI=\"{uri}{QUERY}\",LAST-MSN={segment},LAST-PART={part}"
            ),
            None => line!(
                self,
                "#EXT-X-RENDITION-REPORT:URI=\"{uri}{QUERY}\",LAST-MSN={segment}"
            ),
        }
    }

    /// Nothing will follow.
    pub fn end(&mut self) {
        line!(self, "#EXT-X-ENDLIST");
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// ISO 8601 in UTC with milliseconds; microseconds since 1970.
fn date_time(unix_us: i64) -> String {
    let ms = unix_us.div_euclid(1000);
    let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil_date(days);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a number of days since 1970, counting years from March (Hinnant,
/// "chrono-compatible low-level date algorithms").
pub fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_264_305, "2026-11-21T12:31:45.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date_time(seconds * 1_000_000), text);
        }
        assert_eq!(date_time(1_999_999), "1970-01-01T00:00:01.999Z");
    }

    #[test]
    fn durations_have_no_more_digits_than_they_need() {
        assert_eq!(seconds(200_000), "0.2");
        assert_eq!(seconds(2_000_000), "2.0");
        assert_eq!(seconds(33_367), "0.033367");
    }

    #[test]
    fn playlist_reads_as_the_standard_has_it() {
        let mut writer = Writer::new();
        writer.header(&Header {
            target_duration: 2,
            part_target_us: 200_000,
            part_hold_back_us: 600_000,
            media_sequence: 7,
            discontinuity_sequence: 3,
            independent: true,
            skipped: 0,
            event: false,
        });
        writer.map(7);
        writer.program_date_time(1_000_000);
        writer.part(Part {
            number: 40,
            duration_us: 200_000,
            independent: true,
        });
        writer.segment(Segment {
            number: 7,
            duration_us: 2_000_000,
        });
        writer.preload_hint(41);
        writer.rendition_report("audio", 7, Some(2));
        let text = super::super::with_query(&writer.into_text(), "token=x");
        let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=0.6\n\
            #EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init-7.mp4?token=x\"\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:01.000Z\n\
            #EXT-X-PART:DURATION=0.2,URI=\"part-40.m4s?token=x\",INDEPENDENT=YES\n\
            #EXTINF:2.0,\n7.m4s?token=x\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-41.m4s?token=x\"\n\
            #EXT-X-RENDITION-REPORT:URI=\"../audio/live.m3u8?token=x\",LAST-MSN=7,LAST-PART=2\n";
        assert_eq!(text, expected);
    }
}
