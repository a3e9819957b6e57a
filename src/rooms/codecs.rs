//! What a leg speaks: the codec that a description settles on, and how the engine is told of it.
//!
//! The engine compares descriptions more strictly than the world writes them, so it is only shown
//! what was settled here, in its own words.

use crate::media::Law;

/// A codec of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Opus (RFC 7587): what the house speaks.
    Opus,
    /// G.711 µ-law (RFC 3551, section 4.5.14).
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// A codec as one leg speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    /// The payload type of RED around it (RFC 2198), where that is understood.
    pub(super) red: Option<u8>,
    /// Whether lost packets may be asked for again (RFC 4585, section 6.2.1).
    pub(super) has_nack: bool,
}

impl Codec {
    const ALL: [Self; 3] = [Self::Opus, Self::Pcmu, Self::Pcma];

    /// Name, clock rate and channels, as in `a=rtpmap`.
    const fn rtpmap(self) -> &'static str {
        match self {
            Self::Opus => "opus/48000/2",
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
        }
    }

    /// Which law of G.711 it is, if it is one.
    pub(super) const fn law(self) -> Option<Law> {
        match self {
            Self::Opus => None,
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
        }
    }

    /// What we want to be sent.
    pub(super) const fn fmtp(self) -> &'static str {
        match self {
            Self::Opus => "minptime=10;useinbandfec=1",
            Self::Pcmu | Self::Pcma => "",
        }
    }

    fn named(rtpmap: &str) -> Option<Self> {
        // A single channel may be told or left out.
        let name = rtpmap.strip_suffix("/1").unwrap_or(rtpmap);
        Self::ALL.into_iter().find(|codec| codec.rtpmap().eq_ignore_ascii_case(name))
    }

    /// What stands for it where nothing else is said (RFC 3551, section 6).
    const fn payload_type(self) -> u8 {
        match self {
            Self::Opus => 111,
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }
}

impl Format {
    /// As we offer a codec.
    pub(super) fn offered(codec: Codec, has_red: bool) -> Self {
        let red = (has_red && codec == Codec::Opus).then_some(RED_OFFERED);
        let payload_type = codec.payload_type();
        Self { codec, payload_type, red, has_nack: true }
    }

    /// What is spoken after this offer: Opus if it is there, or else what the peer likes best.
    pub(super) fn of_offer(section: &[&str]) -> Option<Self> {
        let known = Self::all_in(section);
        known.iter().find(|format| format.codec == Codec::Opus).or(known.first()).copied()
    }

    /// What is spoken after this answer: what the peer will send, which it names first.
    pub(super) fn of_answer(section: &[&str]) -> Option<Self> {
        Self::all_in(section).first().copied()
    }

    /// The codecs of a section that we know, in its order.
    fn all_in(section: &[&str]) -> Vec<Self> {
        let types = section.first().into_iter().flat_map(|media| media.split(' ').skip(3));
        types.filter_map(|payload_type| Self::read(section, payload_type.parse().ok()?)).collect()
    }

    fn read(section: &[&str], payload_type: u8) -> Option<Self> {
        let codec = match rtpmap(section, payload_type) {
            Some(name) => Codec::named(name)?,
            None => [Codec::Pcmu, Codec::Pcma]
                .into_iter()
                .find(|codec| codec.payload_type() == payload_type)?,
        };
        let red = if codec == Codec::Opus { red_around(section, payload_type) } else { None };
        let mut feedback = section.iter().filter_map(|line| line.strip_prefix("a=rtcp-fb:"));
        let of_this = format!("{payload_type} nack");
        let has_nack = feedback.any(|line| [&*of_this, "* nack"].contains(&line.trim_end()));
        Some(Self { codec, payload_type, red, has_nack })
    }

    /// A media line with this codec only.
    pub(super) fn media_line(self, line: &str) -> String {
        let mut words: Vec<&str> = line.split(' ').take(3).collect();
        let types = self.payload_types().map(|payload_type| payload_type.to_string());
        let types: Vec<_> = types.collect();
        words.extend(types.iter().map(String::as_str));
        words.join(" ")
    }

    /// The attributes that tell of this codec; all others of their kind give way to them.
    pub(super) fn attributes(self) -> Vec<String> {
        let (codec, payload_type) = (self.codec, self.payload_type);
        let mut lines = vec![format!("a=rtpmap:{payload_type} {}", codec.rtpmap())];
        if !codec.fmtp().is_empty() {
            lines.push(format!("a=fmtp:{payload_type} {}", codec.fmtp()));
        }
        if self.has_nack {
            lines.push(format!("a=rtcp-fb:{payload_type} nack"));
        }
        if let Some(red) = self.red {
            lines.push(format!("a=rtpmap:{red} {RED_RTPMAP}"));
            lines.push(format!("a=fmtp:{red} {}", self.red_fmtp()));
        }
        lines
    }

    /// What RED wraps: the codec, and an older packet of the same.
    pub(super) fn red_fmtp(self) -> String {
        format!("{0}/{0}", self.payload_type)
    }

    /// RED comes first: a browser that sees it after the codec does not use it.
    fn payload_types(self) -> impl Iterator<Item = u8> {
        self.red.into_iter().chain([self.payload_type])
    }
}

/// Whether a line tells of a codec.
pub(super) fn is_of_codecs(line: &str) -> bool {
    ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().any(|kind| line.starts_with(kind))
}

/// The payload type of RED around nothing but this one.
fn red_around(section: &[&str], inner: u8) -> Option<u8> {
    let media = section.first()?;
    let mut types = media.split(' ').skip(3).filter_map(|payload_type| payload_type.parse().ok());
    types.find(|red: &u8| {
        let is_red = rtpmap(section, *red)
            .is_some_and(|name| name.to_ascii_lowercase().starts_with("red/48000"));
        let wrapped = attribute_of(section, "a=fmtp:", *red).unwrap_or_default();
        is_red && wrapped.split('/').all(|wrapped| wrapped.trim().parse() == Ok(inner))
    })
}

fn rtpmap<'a>(section: &[&'a str], payload_type: u8) -> Option<&'a str> {
    attribute_of(section, "a=rtpmap:", payload_type)
}

/// What an attribute of this kind says of a payload type.
fn attribute_of<'a>(section: &[&'a str], kind: &str, payload_type: u8) -> Option<&'a str> {
    let values = section.iter().filter_map(|line| line.strip_prefix(kind)?.split_once(' '));
    let mut of_type = values.filter(|(of, _)| of.parse() == Ok(payload_type));
    of_type.next().map(|(_, value)| value.trim())
}

/// The payload type under which we offer RED, as browsers do.
const RED_OFFERED: u8 = 63;
pub(super) const RED_RTPMAP: &str = "red/48000/2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_is_spoken_wherever_it_is_offered() {
        let format = Format::of_offer(&BROWSER).unwrap();
        assert_eq!((format.codec, format.payload_type), (Codec::Opus, 111));
        assert_eq!(format.red, Some(63));
        assert!(!format.has_nack);
        let telephone_first = ["m=audio 9 RTP/SAVPF 0 8 96", "a=rtpmap:96 OPUS/48000/2"];
        assert_eq!(Format::of_offer(&telephone_first).unwrap().payload_type, 96);
    }

    #[test]
    fn a_telephone_speaks_what_it_likes_best() {
        let spoken = |section: &[&str]| Format::of_offer(section).map(|format| format.codec);
        assert_eq!(spoken(&["m=audio 9 RTP/SAVPF 0 8"]), Some(Codec::Pcmu));
        assert_eq!(spoken(&["m=audio 9 RTP/SAVPF 8 0 101"]), Some(Codec::Pcma));
        let mapped =
            ["m=audio 9 RTP/SAVPF 9 97", "a=rtpmap:97 pcma/8000/1", "a=rtpmap:9 G722/8000"];
        assert_eq!(spoken(&mapped), Some(Codec::Pcma));
        let renamed = ["m=audio 9 RTP/SAVPF 0", "a=rtpmap:0 G722/8000"];
        assert_eq!(spoken(&renamed), None);
        assert_eq!(spoken(&["m=audio 9 RTP/SAVPF 9 13 18"]), None);
        assert_eq!(spoken(&[]), None);
    }

    #[test]
    fn an_answers_first_codec_is_what_the_peer_will_send() {
        let answer = ["m=audio 9 RTP/SAVPF 101 8 111", "a=rtpmap:111 opus/48000/2"];
        assert_eq!(Format::of_answer(&answer).unwrap().codec, Codec::Pcma);
        assert_eq!(Format::of_offer(&answer).unwrap().codec, Codec::Opus);
    }

    #[test]
    fn red_around_something_else_is_not_taken() {
        for fmtp in ["a=fmtp:63 0/0", "a=fmtp:63 111/0", "a=fmtp:64 111/111"] {
            let section =
                BROWSER.map(|line| if line.starts_with("a=fmtp:63") { fmtp } else { line });
            assert_eq!(Format::of_offer(&section).unwrap().red, None, "{fmtp}");
        }
        let video = BROWSER.map(|line| {
            if line.starts_with("a=rtpmap:63") { "a=rtpmap:63 red/90000" } else { line }
        });
        assert_eq!(Format::of_offer(&video).unwrap().red, None);
    }

    #[test]
    fn what_is_settled_can_be_read_back() {
        let section = [&BROWSER[..], &["a=rtcp-fb:* nack"]].concat();
        let format = Format::of_offer(&section).unwrap();
        assert!(format.has_nack);
        let attributes = format.attributes();
        let media = format.media_line(BROWSER[0]);
        assert_eq!(media, "m=audio 9 UDP/TLS/RTP/SAVPF 63 111");
        let lines: Vec<&str> =
            [&*media].into_iter().chain(attributes.iter().map(|a| &**a)).collect();
        assert_eq!(Format::of_answer(&lines), Some(format));
    }

    const BROWSER: [&str; 9] = [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:126 telephone-event/8000",
    ];
}
