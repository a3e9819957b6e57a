//! Offers, answers and trickled fragments as text: what is read from them, and what is put in.
//!
//! The engine is strict where the world is not: it takes one fingerprint, and one candidate that
//! it cannot read costs the whole offer. So descriptions are tidied before it sees them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::codecs::{self, Format};
use super::fingerprint::Fingerprint;

/// The largest description taken, in bytes: ten times what a browser sends for one call.
pub(super) const SDP_MAX: usize = 64 * 1024;

/// How many candidates of one peer are tried; the rest are left out.
const CANDIDATES_MAX: usize = 32;

/// Why a description is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum SdpError {
    #[error("this is not a session description")]
    NotSdp,
    #[error("the session description is longer than {SDP_MAX} bytes")]
    TooLong,
    #[error("there is no audio in the session description")]
    NoAudio,
    #[error("there is neither Opus (48000/2) nor G.711 (PCMU, PCMA) in the session description")]
    NoCodec,
    #[error("there is no DTLS fingerprint of SHA-256 or stronger in the session description")]
    NoFingerprint,
    #[error("there are no ICE credentials in the session description")]
    NoIce,
}

/// An offer or answer of a peer, tidied.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    /// What the engine is given.
    pub(super) sdp: String,
    /// What is spoken from here on.
    pub(super) format: Format,
    /// The certificates the peer may show; any one will do (RFC 8122, section 5).
    pub(super) fingerprints: Vec<Fingerprint>,
    /// Whether the peer insists on being asked for the handshake (`a=setup:passive`).
    pub(super) is_dtls_server: bool,
    /// The peer's ICE user name.
    pub(super) ufrag: String,
}

impl Description {
    /// Reads what a peer offers.
    pub(super) fn read(text: &str) -> Result<Self, SdpError> {
        Self::read_with(text, Format::of_offer)
    }

    /// Reads what a peer answers.
    pub(super) fn read_answer(text: &str) -> Result<Self, SdpError> {
        Self::read_with(text, Format::of_answer)
    }

    fn read_with(
        text: &str,
        settle: impl FnOnce(&[&str]) -> Option<Format>,
    ) -> Result<Self, SdpError> {
        if text.len() > SDP_MAX {
            return Err(SdpError::TooLong);
        }
        if !text.starts_with("v=0") {
            return Err(SdpError::NotSdp);
        }
        let format = settle(&audio_section(text)?).ok_or(SdpError::NoCodec)?;
        let fingerprints = fingerprints(text);
        let best = fingerprints.iter().max_by_key(|fingerprint| fingerprint.strength());
        let best = best.ok_or(SdpError::NoFingerprint)?.to_string();
        let ufrag = attribute(text, "ice-ufrag").ok_or(SdpError::NoIce)?.to_owned();
        attribute(text, "ice-pwd").ok_or(SdpError::NoIce)?;
        Ok(Self {
            sdp: tidy(text, &best, format),
            format,
            is_dtls_server: attribute(text, "setup") == Some("passive"),
            fingerprints,
            ufrag,
        })
    }

    /// The same description after the peer has restarted ICE: other credentials and candidates.
    pub(super) fn restarted(&self, fragment: &Fragment) -> Option<Self> {
        let (ufrag, pwd) = (fragment.ufrag.as_ref()?, fragment.pwd.as_ref()?);
        let mut text = String::with_capacity(self.sdp.len());
        for line in lines(&self.sdp) {
            match line.split_once(':') {
                Some(("a=ice-ufrag", _)) => push(&mut text, &format!("a=ice-ufrag:{ufrag}")),
                Some(("a=ice-pwd", _)) => push(&mut text, &format!("a=ice-pwd:{pwd}")),
                Some(("a=candidate", _)) => {}
                _ => push(&mut text, line),
            }
        }
        let mut candidates = String::new();
        for candidate in &fragment.candidates {
            push(&mut candidates, &format!("a={candidate}"));
        }
        let sdp = in_first_section(&text, &candidates);
        Some(Self { sdp, ufrag: ufrag.clone(), ..self.clone() })
    }
}

/// What is trickled (RFC 8840): more candidates, or new credentials after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) ufrag: Option<String>,
    pub(super) pwd: Option<String>,
    /// `candidate:…` lines that we can use.
    pub(super) candidates: Vec<String>,
}

impl Fragment {
    /// Reads an `application/trickle-ice-sdpfrag` body.
    pub(super) fn read(text: &str) -> Result<Self, SdpError> {
        if text.len() > SDP_MAX {
            return Err(SdpError::TooLong);
        }
        if !lines(text).all(is_sdp_line) {
            return Err(SdpError::NotSdp);
        }
        let candidates = lines(text)
            .filter_map(|line| line.strip_prefix("a="))
            .filter(|line| is_usable_candidate(line))
            .take(CANDIDATES_MAX);
        Ok(Self {
            ufrag: attribute(text, "ice-ufrag").map(str::to_owned),
            pwd: attribute(text, "ice-pwd").map(str::to_owned),
            candidates: candidates.map(str::to_owned).collect(),
        })
    }
}

/// Where our legs can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The addresses for datagrams, best first.
    pub(super) datagrams: Vec<SocketAddr>,
    /// The addresses for connections, best first.
    pub(super) streams: Vec<SocketAddr>,
}

/// The first value of an attribute, wherever it stands.
pub(super) fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    lines(text).find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

/// Our answer, reachable there and nowhere else.
pub(super) fn with_candidates(answer: &str, reach: &Reach) -> String {
    let mut text = String::with_capacity(answer.len() + 512);
    for line in lines(answer) {
        let is_gathered = line.starts_with("a=candidate:") || line == "a=end-of-candidates";
        if !is_gathered {
            push(&mut text, line);
        }
    }
    in_first_section(&text, &candidate_lines(reach))
}

/// What answers a restart (RFC 9725, section 4.3.3): our new credentials and candidates.
pub(super) fn restart_fragment(answer: &str, reach: &Reach) -> String {
    fragment_head(answer) + &candidate_lines(reach)
}

/// What tells a peer these candidates (`candidate:…`) of a description of ours (RFC 8840).
pub(super) fn trickle_fragment<'a>(
    description: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> String {
    let mut text = fragment_head(description);
    candidates.for_each(|candidate| push(&mut text, &format!("a={candidate}")));
    text
}

/// The candidates of a description (`candidate:…`).
pub(super) fn candidates(description: &str) -> impl Iterator<Item = &str> {
    let attributes = lines(description).filter_map(|line| line.strip_prefix("a="));
    attributes.filter(|attribute| attribute.starts_with("candidate:"))
}

/// Whether an answer promises sound: its side of the line sends (RFC 8866, section 6.7).
pub(super) fn sends(answer: &str) -> bool {
    !lines(answer).any(|line| matches!(line, "a=recvonly" | "a=inactive"))
}

/// Whose a fragment is: the credentials, and the one section that carries all.
fn fragment_head(description: &str) -> String {
    let mut text = String::new();
    for name in ["ice-ufrag", "ice-pwd"] {
        if let Some(value) = attribute(description, name) {
            push(&mut text, &format!("a={name}:{value}"));
        }
    }
    if let Some(media) = lines(description).find(|line| line.starts_with("m=")) {
        push(&mut text, media);
    }
    if let Some(mid) = attribute(description, "mid") {
        push(&mut text, &format!("a=mid:{mid}"));
    }
    text
}

/// Host candidates (RFC 8839, section 5.1), the first preferred, and the word that these are all.
/// To a connection we are the one who waits (RFC 6544, section 4.5).
fn candidate_lines(reach: &Reach) -> String {
    let mut text = String::new();
    let datagrams = reach.datagrams.iter().map(|address| (address, DATAGRAMS));
    let streams = reach.streams.iter().map(|address| (address, STREAMS));
    for (number, (address, kind)) in (1..0x8000).zip(datagrams.chain(streams)) {
        let (ip, port) = (address.ip(), address.port());
        let Kind { transport, preference, local_max, more } = kind;
        // RFC 8445, section 5.1.2.1: type, then our preference, then the component.
        let priority = (preference << 24) | ((local_max + 1 - number) << 8) | 255;
        let line =
            format!("a=candidate:{number} 1 {transport} {priority} {ip} {port} typ host{more}");
        push(&mut text, &line);
    }
    push(&mut text, "a=end-of-candidates");
    text
}

/// What a candidate's kind puts into its line.
#[derive(Clone, Copy)]
struct Kind {
    transport: &'static str,
    /// The preference of its type.
    preference: u32,
    /// The preference of the first among its like.
    local_max: u32,
    more: &'static str,
}

const DATAGRAMS: Kind = Kind { transport: "udp", preference: 126, local_max: 0xFFFF, more: "" };

/// Below any datagrams, those over a relay's UDP excepted (RFC 6544, section 4.2): a lost packet
/// holds up all that come after it. The local preference begins with that of the one who waits.
const STREAMS: Kind = Kind {
    transport: "tcp",
    preference: 90,
    local_max: (4 << 13) | 0x1FFF,
    more: " tcptype passive",
};

/// The first audio section that is not switched off: its media line, and what belongs to it.
fn audio_section(text: &str) -> Result<Vec<&str>, SdpError> {
    let mut section = lines(text).skip_while(|line| !is_audio(line));
    let media = section.next().ok_or(SdpError::NoAudio)?;
    Ok([media].into_iter().chain(section.take_while(|line| !line.starts_with("m="))).collect())
}

fn is_audio(line: &str) -> bool {
    line.starts_with("m=audio ") && !line.starts_with("m=audio 0 ")
}

fn fingerprints(text: &str) -> Vec<Fingerprint> {
    let values = lines(text).filter_map(|line| line.strip_prefix("a=fingerprint:"));
    values.filter_map(Fingerprint::read).collect()
}

/// Leaves out what the engine would stumble over; `fingerprint` stands for all that were there.
/// In the first audio section, so does `format` for all codecs.
fn tidy(text: &str, fingerprint: &str, format: Format) -> String {
    let mut tidied = String::with_capacity(text.len());
    let (mut is_media, mut candidates) = (false, 0);
    let mut audio = Audio::Ahead;
    for line in lines(text) {
        let before = audio;
        audio = before.after(line);
        if (before, audio) == (Audio::Head, Audio::Body) {
            format.attributes().iter().for_each(|attribute| push(&mut tidied, attribute));
        }
        if audio == Audio::Body && codecs::is_of_codecs(line) {
            continue;
        }
        if line.starts_with("m=") && !is_media {
            is_media = true;
            push(&mut tidied, &format!("a=fingerprint:{fingerprint}"));
        }
        let candidate = line.strip_prefix("a=").filter(|line| line.starts_with("candidate:"));
        if let Some(candidate) = candidate {
            candidates += 1;
            if candidates > CANDIDATES_MAX || !is_usable_candidate(candidate) {
                continue;
            }
        }
        if audio == Audio::Head && is_audio(line) {
            push(&mut tidied, &format.media_line(line));
        } else if !line.starts_with("a=fingerprint:") {
            push(&mut tidied, line);
        }
    }
    tidied
}

/// Where the section is in which we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audio {
    Ahead,
    /// Its media line, and what must stand between that and the attributes.
    Head,
    Body,
    Behind,
}

impl Audio {
    fn after(self, line: &str) -> Self {
        match self {
            Self::Ahead if is_audio(line) => Self::Head,
            Self::Head | Self::Body if line.starts_with("m=") => Self::Behind,
            Self::Head if line.starts_with("a=") => Self::Body,
            Self::Ahead | Self::Head | Self::Body | Self::Behind => self,
        }
    }
}

/// Whether we can send to a candidate: UDP, an address and not a name (`.local` hides one), and
/// for the one component there is.
fn is_usable_candidate(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("candidate:") else { return false };
    let mut words = rest.split_ascii_whitespace().skip(1);
    let is_component = words.next() == Some("1");
    let is_udp = words.next().is_some_and(|word| word.eq_ignore_ascii_case("udp"));
    let has_priority = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    let is_address = words.next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
    let has_port = words.next().is_some_and(|word| word.parse::<u16>().is_ok_and(|port| port > 0));
    let has_type = words.next() == Some("typ")
        && matches!(words.next(), Some("host" | "srflx" | "prflx" | "relay"));
    is_component && is_udp && has_priority && is_address && has_port && has_type
}

/// Puts `more` at the end of the first section that is in use, which carries them all (BUNDLE).
fn in_first_section(text: &str, more: &str) -> String {
    let is_used = |line: &str| line.starts_with("m=") && line.split(' ').nth(1) != Some("0");
    let first = lines(text).position(is_used).unwrap_or(usize::MAX);
    let mut result = String::with_capacity(text.len() + more.len());
    let mut is_put = false;
    for (number, line) in lines(text).enumerate() {
        if number > first && line.starts_with("m=") && !is_put {
            is_put = true;
            result.push_str(more);
        }
        push(&mut result, line);
    }
    if !is_put {
        result.push_str(more);
    }
    result
}

fn is_sdp_line(line: &str) -> bool {
    let mut bytes = line.bytes();
    bytes.next().is_some_and(|letter| letter.is_ascii_lowercase()) && bytes.next() == Some(b'=')
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty())
}

fn push(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{line}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::codecs::Codec;

    #[test]
    fn an_offer_keeps_only_candidates_that_can_be_sent_to() {
        let offer = OFFER.replace(
            "a=mid:0",
            "a=mid:0\r\n\
             a=candidate:1 1 udp 2122 192.0.2.7 5000 typ host generation 0\r\n\
             a=candidate:2 1 UDP 2122 2001:db8::1 5000 typ srflx raddr 0.0.0.0 rport 0\r\n\
             a=candidate:3 1 udp 2122 f3a2.local 5000 typ host\r\n\
             a=candidate:4 1 tcp 2122 192.0.2.7 9 typ host tcptype active\r\n\
             a=candidate:5 2 udp 2122 192.0.2.7 5001 typ host\r\n\
             a=candidate:nonsense",
        );
        let offer = Description::read(&offer).unwrap();
        assert_eq!(candidates_of(&offer.sdp), ["1", "2"]);
    }

    #[test]
    fn one_fingerprint_stands_for_all_at_the_top() {
        let more = format!("a=fingerprint:SHA-384 {}\r\na=mid:0", hex(48));
        let offer = OFFER.replace("a=mid:0", &more);
        let offer = Description::read(&offer).unwrap();
        assert_eq!(offer.fingerprints.len(), 2);
        assert_eq!(offer.sdp.matches("a=fingerprint:").count(), 1);
        let fingerprint = offer.sdp.find("a=fingerprint:sha-384").unwrap();
        assert!(fingerprint < offer.sdp.find("m=audio").unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        let read = |sdp: &str| Description::read(sdp).unwrap_err();
        assert_eq!(read("hello"), SdpError::NotSdp);
        assert_eq!(read(""), SdpError::NotSdp);
        assert_eq!(read("v=0\r\n"), SdpError::NoAudio);
        assert_eq!(read(&OFFER.replace("m=audio 9", "m=video 9")), SdpError::NoAudio);
        assert_eq!(read(&OFFER.replace("m=audio 9", "m=audio 0")), SdpError::NoAudio);
        assert_eq!(read(&OFFER.replace("opus", "G722")), SdpError::NoCodec);
        assert_eq!(read(&OFFER.replace("sha-256", "sha-1")), SdpError::NoFingerprint);
        assert_eq!(read(&OFFER.replace("ice-pwd", "x")), SdpError::NoIce);
        assert_eq!(read(&format!("v=0{}", " ".repeat(SDP_MAX))), SdpError::TooLong);
    }

    #[test]
    fn only_what_is_settled_is_shown_to_the_engine() {
        let more = "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 96 101\r\n";
        let offer = OFFER.replace("m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n", more)
            + "a=rtpmap:101 telephone-event/8000\r\na=fmtp:96 stereo=1\r\na=ptime:60\r\n\
               m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=rtpmap:97 VP8/90000\r\n";
        let offer = Description::read(&offer).unwrap();
        assert_eq!((offer.format.codec, offer.format.payload_type), (Codec::Opus, 96));
        assert!(offer.sdp.contains("m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"));
        assert!(offer.sdp.contains("a=fmtp:96 minptime=10;useinbandfec=1\r\n"));
        assert!(offer.sdp.contains("a=ptime:60\r\n") && offer.sdp.contains("a=rtpmap:97 VP8"));
        assert!(!offer.sdp.contains("telephone-event") && !offer.sdp.contains("stereo"));
    }

    #[test]
    fn a_telephone_need_not_name_its_codecs() {
        let offer = OFFER
            .replace("SAVPF 96\r\n", "SAVPF 8 0\r\n")
            .replace("a=rtpmap:96 opus/48000/2\r\n", "");
        let offer = Description::read(&offer).unwrap();
        assert_eq!(offer.format.codec, Codec::Pcma);
        let before_attributes = "SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:8 PCMA/8000\r\n";
        assert!(offer.sdp.contains(before_attributes), "{}", offer.sdp);
    }

    #[test]
    fn our_answer_names_our_addresses_in_its_first_section() {
        let answer = OFFER.to_owned()
            + "a=candidate:9 1 udp 1 127.0.0.1 4 typ host\r\na=end-of-candidates\r\n\
               m=video 0 UDP/TLS/RTP/SAVPF 97\r\n";
        let answer = with_candidates(&answer, &reach());
        let (audio, video) = answer.split_once("m=video").unwrap();
        assert_eq!(candidates_of(audio), ["1", "2", "3"]);
        assert!(audio.contains("a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n"));
        let stream = "a=candidate:3 1 tcp 1520434687 192.0.2.1 443 typ host tcptype passive\r\n";
        assert!(audio.contains(stream), "{audio}");
        assert!(audio.ends_with("a=end-of-candidates\r\n"));
        assert!(!video.contains("candidate"));
    }

    #[test]
    fn a_restart_changes_credentials_and_candidates_only() {
        let fragment = Fragment::read(
            "a=ice-ufrag:new1\r\na=ice-pwd:new2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
             a=candidate:7 1 udp 1 192.0.2.9 4000 typ host\r\na=end-of-candidates\r\n",
        )
        .unwrap();
        let before = Description::read(OFFER).unwrap();
        let after = before.restarted(&fragment).unwrap();
        assert_eq!(after.ufrag, "new1");
        assert_eq!(attribute(&after.sdp, "ice-pwd"), Some("new2"));
        assert_eq!(candidates_of(&after.sdp), ["7"]);
        assert_eq!(attribute(&after.sdp, "mid"), Some("0"));
        assert_eq!(before.restarted(&Fragment::default()), None);
    }

    #[test]
    fn a_fragment_that_is_no_fragment_is_refused() {
        assert_eq!(Fragment::read("{\"candidate\": 1}"), Err(SdpError::NotSdp));
        assert_eq!(Fragment::read(""), Ok(Fragment::default()));
    }

    #[test]
    fn the_fragment_that_answers_a_restart_can_be_read_back() {
        let text = restart_fragment(OFFER, &reach());
        let fragment = Fragment::read(&text).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("abcd"));
        assert_eq!(fragment.candidates.len(), 2, "we do not connect by ourselves");
        assert_eq!(candidates_of(&text), ["1", "2", "3"], "but are told of");
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
        a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:\
        00:00:00:00:00:00:00:00:00:00\r\na=rtcp-mux\r\na=rtpmap:96 opus/48000/2\r\n";

    fn reach() -> Reach {
        let at = |machine: u8, port: u16| SocketAddr::from(([192, 0, 2, machine], port));
        Reach { datagrams: vec![at(1, 5000), at(2, 5000)], streams: vec![at(1, 443)] }
    }

    fn hex(bytes: usize) -> String {
        vec!["AB"; bytes].join(":")
    }

    fn candidates_of(sdp: &str) -> Vec<&str> {
        let candidates = lines(sdp).filter_map(|line| line.strip_prefix("a=candidate:"));
        candidates.filter_map(|candidate| candidate.split(' ').next()).collect()
    }
}
