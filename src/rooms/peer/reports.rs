//! Listens to the RTCP of a leg: goodbyes, and what both ends report of the line. The engine
//! itself makes nothing of either.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use crate::agent::LineQuality;

/// Reports of one peer that may wait to be heard.
///
/// When full: the next one is not told. A goodbye always finds a place, unless one waits already.
pub(super) const REPORTS_CAPACITY: usize = 4;

/// Where it stands among the engine's own interceptors: next to the wire, so that it sees what
/// they send.
pub(super) const PLACE: Slot = Slot::Custom(500);

/// What was heard of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The peer says that a stream of its own is over (RFC 3550, section 6.6).
    Goodbye,
    /// How the line was of late; about once a second.
    Quality(LineQuality),
}

/// Tells what it hears, and passes everything on.
pub(super) struct Reports {
    told: mpsc::Sender<Report>,
    line: Line,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Reports {
    pub(super) fn new(told: mpsc::Sender<Report>) -> Self {
        let (inbound, outbound) = (VecDeque::new(), VecDeque::new());
        Self { told, line: Line::default(), inbound, outbound }
    }

    fn tell_quality(&mut self, now: Instant) {
        // The last place is kept for a goodbye.
        if self.told.capacity() > 1
            && let Some(quality) = self.line.take_news(now)
        {
            let _ = self.told.try_send(Report::Quality(quality));
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet {
            if reports.iter().any(|report| report.as_any().is::<Goodbye>()) {
                // One that waits already says the same.
                let _ = self.told.try_send(Report::Goodbye);
            }
            for report in reports {
                self.line.hear(&**report, packet.now);
            }
            self.tell_quality(packet.now);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(reports) = &packet.message.packet {
            for report in reports {
                self.line.say(&**report, packet.now);
            }
            self.tell_quality(packet.now);
        }
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Reports {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.line.down = Some(Stream { ssrc: info.ssrc, ticks_per_ms: ticks_per_ms(info) });
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.line.up = Some(Stream { ssrc: info.ssrc, ticks_per_ms: ticks_per_ms(info) });
    }

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// What is known of a line, and when it was last told.
#[derive(Debug, Default)]
struct Line {
    up: Option<Stream>,
    down: Option<Stream>,
    quality: LineQuality,
    has_news: bool,
    told_at: Option<Instant>,
    /// When our last sender reports left, by the name that answers give them.
    sent: VecDeque<(u32, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    ticks_per_ms: u32,
}

impl Line {
    /// The peer reports.
    fn hear(&mut self, report: &dyn rtcp::Packet, now: Instant) {
        for block in blocks(report) {
            let Some(down) = self.down.filter(|down| down.ssrc == block.ssrc) else { continue };
            self.quality.lost_down_percent = percent(block.fraction_lost);
            self.quality.jitter_down_ms = short(block.jitter / down.ticks_per_ms);
            if let Some(round_trip) = self.round_trip(block, now) {
                let ms = u32::try_from(round_trip.as_millis()).unwrap_or(u32::MAX);
                self.quality.round_trip_ms = Some(short(ms));
            }
            self.has_news = true;
        }
    }

    /// We report.
    fn say(&mut self, report: &dyn rtcp::Packet, now: Instant) {
        if let Some(report) = report.as_any().downcast_ref::<SenderReport>() {
            if self.sent.len() == SENT_MAX {
                self.sent.pop_front();
            }
            self.sent.push_back((middle(report.ntp_time), now));
        }
        for block in blocks(report) {
            let Some(up) = self.up.filter(|up| up.ssrc == block.ssrc) else { continue };
            self.quality.lost_up_percent = percent(block.fraction_lost);
            self.quality.jitter_up_ms = short(block.jitter / up.ticks_per_ms);
            self.has_news = true;
        }
    }

    /// The time since our report that is answered here left, without the time that it lay at the
    /// peer's (RFC 3550, section 6.4.1).
    fn round_trip(&self, block: &ReceptionReport, now: Instant) -> Option<Duration> {
        let name = block.last_sender_report;
        let (_, left) = self.sent.iter().rev().find(|(sent, _)| *sent == name && name != 0)?;
        let lay = Duration::from_secs(1).saturating_mul(block.delay) / 65_536;
        Some(now.saturating_duration_since(*left).saturating_sub(lay))
    }

    /// What is new since the last time, at most once a second.
    fn take_news(&mut self, now: Instant) -> Option<LineQuality> {
        let is_due = self.told_at.is_none_or(|told| now.duration_since(told) >= PERIOD);
        if !self.has_news || !is_due {
            return None;
        }
        (self.has_news, self.told_at) = (false, Some(now));
        Some(self.quality)
    }
}

/// The blocks of a report: a sender's report may carry some too.
fn blocks(report: &dyn rtcp::Packet) -> &[ReceptionReport] {
    let report = report.as_any();
    if let Some(report) = report.downcast_ref::<ReceiverReport>() {
        &report.reports
    } else if let Some(report) = report.downcast_ref::<SenderReport>() {
        &report.reports
    } else {
        &[]
    }
}

/// The middle of an NTP time, by which reports are answered.
const fn middle(ntp_time: u64) -> u32 {
    let [_, _, a, b, c, d, _, _] = ntp_time.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Parts of 256 in percent, rounded up: any loss is more than none.
fn percent(fraction: u8) -> u8 {
    u8::try_from((u32::from(fraction) * 100).div_ceil(256)).unwrap_or(100)
}

fn short(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn ticks_per_ms(info: &StreamInfo) -> u32 {
    (info.clock_rate / 1000).max(1)
}

/// Reports come about every second; some peers send many more.
const PERIOD: Duration = Duration::from_millis(900);

/// How many of our own reports are remembered. They leave every second, and peers answer the last.
const SENT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_peers_report_tells_what_becomes_of_ours() {
        let (mut line, now) = line();
        line.say(&SenderReport { ntp_time: 0x1234_5678_9ABC_DEF0, ..SenderReport::default() }, now);
        let block = ReceptionReport {
            ssrc: OURS,
            fraction_lost: 26,
            jitter: 48 * 7,
            last_sender_report: 0x5678_9ABC,
            delay: 65_536 / 2,
            ..ReceptionReport::default()
        };
        line.hear(&receiver(block), now + Duration::from_millis(580));
        let expected = LineQuality {
            lost_down_percent: 11,
            jitter_down_ms: 7,
            round_trip_ms: Some(80),
            ..LineQuality::default()
        };
        assert_eq!(line.take_news(now + PERIOD), Some(expected));
    }

    #[test]
    fn our_own_report_tells_what_becomes_of_theirs() {
        let (mut line, now) = line();
        let block = ReceptionReport {
            ssrc: THEIRS,
            fraction_lost: 1,
            jitter: 8 * 30,
            ..ReceptionReport::default()
        };
        line.say(&receiver(block), now);
        let quality = line.take_news(now).expect("it is news");
        assert_eq!((quality.lost_up_percent, quality.jitter_up_ms), (1, 30));
    }

    #[test]
    fn a_senders_report_carries_blocks_too() {
        let (mut line, now) = line();
        let block = ReceptionReport { ssrc: OURS, fraction_lost: 255, ..Default::default() };
        line.hear(&SenderReport { reports: vec![block], ..SenderReport::default() }, now);
        assert_eq!(line.take_news(now).map(|quality| quality.lost_down_percent), Some(100));
    }

    #[test]
    fn news_are_told_once_a_second_and_only_once() {
        let (mut line, now) = line();
        let lost = |fraction_lost| ReceptionReport { ssrc: OURS, fraction_lost, ..block() };
        line.hear(&receiver(lost(0)), now);
        assert!(line.take_news(now).is_some());
        line.hear(&receiver(lost(128)), now + Duration::from_millis(10));
        assert_eq!(line.take_news(now + Duration::from_millis(10)), None, "it is too soon");
        let later = line.take_news(now + PERIOD).expect("it is told later");
        assert_eq!(later.lost_down_percent, 50);
        assert_eq!(line.take_news(now + 2 * PERIOD), None, "there is nothing new");
    }

    #[test]
    fn reports_of_strangers_and_lies_about_time_change_nothing() {
        let (mut line, now) = line();
        line.hear(&receiver(ReceptionReport { ssrc: 99, fraction_lost: 255, ..block() }), now);
        assert_eq!(line.take_news(now), None);
        line.say(&SenderReport { ntp_time: 1 << 16, ..SenderReport::default() }, now);
        let lie = ReceptionReport { last_sender_report: 1, delay: u32::MAX, ..block() };
        line.hear(&receiver(ReceptionReport { ssrc: OURS, ..lie }), now);
        assert_eq!(line.take_news(now).and_then(|quality| quality.round_trip_ms), Some(0));
    }

    fn line() -> (Line, Instant) {
        let down = Some(Stream { ssrc: OURS, ticks_per_ms: 48 });
        let up = Some(Stream { ssrc: THEIRS, ticks_per_ms: 8 });
        (Line { up, down, ..Line::default() }, clock::now())
    }

    fn receiver(block: ReceptionReport) -> ReceiverReport {
        ReceiverReport { reports: vec![block], ..ReceiverReport::default() }
    }

    fn block() -> ReceptionReport {
        ReceptionReport::default()
    }

    const OURS: u32 = 7;
    const THEIRS: u32 = 8;
}
