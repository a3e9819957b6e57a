//! From what the two ends of a call have noted to what the gateway between them has done.
//!
//! The model's frames carry no numbers. A sentence is found among them by its shape: the levels of
//! its packets, once decoded, were taken down when it was recorded. From there on the n-th frame at
//! the model is the n-th packet of the caller.

use std::time::{Duration, Instant};

use super::caller::{CallerLog, Saying};
use super::figures::Figures;
use super::leg::Heard;
use super::mind::{Answered, FrameSeen, SessionLog};
use super::talk::Talk;

/// When figures are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

impl Window {
    fn has(&self, at: Instant) -> bool {
        self.from <= at && at < self.to
    }
}

/// Counts a call.
pub(super) fn tally(
    figures: &mut Figures,
    talk: &Talk,
    caller: &CallerLog,
    session: Option<&SessionLog>,
    window: Window,
) {
    figures.counts.held += 1;
    figures.counts.missed += caller.missed;
    figures.connected.add(caller.connected - caller.offered);
    for (tick, sent) in (0..).zip(&caller.sent) {
        if let Some(sent) = sent.filter(|sent| window.has(*sent)) {
            figures.late.add(sent.saturating_duration_since(caller.begun + FRAME * tick));
        }
    }
    if let Some(first) = caller.heard.first() {
        figures.first_audio.add(first.at.saturating_duration_since(caller.offered));
    }
    if let Some(session) = session {
        let matches = matches(figures, talk, caller, session, window);
        up(figures, caller, session, &matches, window);
        covered(figures, caller, session, &matches);
        down(figures, talk, caller, session, window);
    } else {
        heard_only(figures, talk, caller, window);
    }
}

/// Of an endpoint of others nothing is known but what came from it.
fn heard_only(figures: &mut Figures, talk: &Talk, caller: &CallerLog, window: Window) {
    figures.counts.sentences += u32::try_from(caller.sayings.len()).unwrap_or(u32::MAX);
    figures.counts.packets += caller.heard.len() as u64;
    let mut worst = None;
    for heard in caller.heard.chunk_by(|one, next| next.at - one.at < STRETCH_PAUSE) {
        worst = worst.max(gaps(figures, talk, caller, heard, window));
    }
    if let Some(worst) = worst {
        figures.worst_gap.add(worst);
    }
}

/// A part of a sentence that was found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    /// The packet with which it begins, by the caller's ticks.
    tick: usize,
    /// The frame with which it begins at the model.
    frame: usize,
    /// How many packets it has.
    length: usize,
}

/// Finds what was said among what was heard.
fn matches(
    figures: &mut Figures,
    talk: &Talk,
    caller: &CallerLog,
    session: &SessionLog,
    window: Window,
) -> Vec<Match> {
    let mut found = Vec::new();
    for saying in &caller.sayings {
        let levels = &talk.sentences[saying.sentence].levels;
        let Some(Some(said)) = caller.sent.get(saying.tick) else { continue };
        // Of a sentence that was broken off by hanging up, nothing can be known.
        if saying.tick + levels.len() + FAREWELL > caller.sent.len() {
            continue;
        }
        let is_counted = window.has(*said);
        figures.counts.sentences += u32::from(is_counted);
        let before = found.len();
        found.extend(find(&session.frames, levels, *said, saying.tick));
        figures.counts.unmatched += u32::from(is_counted && found.len() == before);
    }
    found
}

/// The frames of a sentence, part by part: the first where its levels fit best, if they do at all,
/// and each other near to where it follows the one before, for frames may be won or lost between.
fn find(frames: &[FrameSeen], levels: &[u16], said: Instant, tick: usize) -> Vec<Match> {
    let parts = (levels.len() / PART_FRAMES).max(1);
    let part = |at: usize| {
        let end = if at + 1 == parts { levels.len() } else { (at + 1) * PART_FRAMES };
        at * PART_FRAMES..end
    };
    let earliest = frames.partition_point(|frame| frame.at < said).saturating_sub(LEAD_FRAMES);
    let latest = frames.partition_point(|frame| frame.at < said + DELAY_MAX);
    let mut found: Vec<Match> = Vec::new();
    for at in 0..parts {
        let wanted = &levels[part(at)];
        let expected = found.last().map(|before| before.frame + before.length);
        let near = expected.map_or(earliest..latest, |expected| {
            expected.saturating_sub(SLIP_FRAMES)..expected + SLIP_FRAMES + 1
        });
        let fits = near.filter_map(|start| Some((misfit(frames, wanted, start)?, start)));
        let Some((least, best)) = fits.min() else { return found };
        // Where both fit about as well, nothing was won or lost.
        let stays = expected.filter(|expected| {
            misfit(frames, wanted, *expected).is_some_and(|there| there <= 2 * least)
        });
        let loud: u64 = wanted.iter().map(|level| u64::from(*level)).sum();
        if least * 100 > loud * MISFIT_PERCENT_MAX {
            return found;
        }
        let frame = stays.unwrap_or(best);
        found.push(Match { tick: tick + at * PART_FRAMES, frame, length: wanted.len() });
    }
    found
}

/// By how much the frames from `start` on differ from the levels that are wanted.
fn misfit(frames: &[FrameSeen], wanted: &[u16], start: usize) -> Option<u64> {
    let heard = frames.get(start..start + wanted.len())?;
    let pairs = heard.iter().zip(wanted);
    Some(pairs.map(|(heard, wanted)| u64::from(heard.level.abs_diff(*wanted))).sum())
}

/// The way of each packet to the model; between two matches only if no frame was won or lost there.
fn up(
    figures: &mut Figures,
    caller: &CallerLog,
    session: &SessionLog,
    matches: &[Match],
    window: Window,
) {
    let mut ways = Vec::new();
    for (at, this) in matches.iter().enumerate() {
        let next = matches.get(at + 1);
        let is_even =
            |next: &&Match| next.frame.checked_sub(this.frame) == Some(next.tick - this.tick);
        let length = next.filter(is_even).map_or(this.length, |next| next.tick - this.tick);
        for step in 0..length {
            let sent = caller.sent.get(this.tick + step).copied().flatten();
            let came = session.frames.get(this.frame + step).map(|frame| frame.at);
            let (Some(sent), Some(came)) = (sent, came) else { continue };
            let way = came.saturating_duration_since(sent);
            if window.has(sent) {
                figures.uplink.add(way);
            }
            ways.push(way);
        }
    }
    let quarter = ways.len() / 4;
    if quarter > 0 {
        let (first, last) = (median(&ways[..quarter]), median(&ways[ways.len() - quarter..]));
        figures.drift.add(last.abs_diff(first));
    }
}

/// How much sound has come to the model since the first sentence.
fn covered(figures: &mut Figures, caller: &CallerLog, session: &SessionLog, matches: &[Match]) {
    let Some(first) = matches.first() else { return };
    let is_dtx = caller.sent.iter().any(Option::is_none);
    let said = caller.sent.len() - first.tick;
    if is_dtx || said == 0 {
        return;
    }
    let ends =
        [caller.sent.get(first.tick), caller.sent.last()].map(|sent| sent.copied().flatten());
    let ([Some(begun), Some(ended)], Some(frame)) = (ends, session.frames.get(first.frame)) else {
        return;
    };
    // As much time at the model as at the caller, so that silence which the gateway feeds after
    // the caller has gone does not count as his.
    let until = frame.at + (ended - begun) + FRAME / 2;
    let until = session.frames.partition_point(|frame| frame.at < until);
    let came = until.saturating_sub(first.frame).min(said);
    figures.coverage.push(percent(came, said));
}

/// The way of each answer to the caller, and its end.
fn down(
    figures: &mut Figures,
    talk: &Talk,
    caller: &CallerLog,
    session: &SessionLog,
    window: Window,
) {
    let mut worst: Option<Duration> = None;
    for (number, answer) in session.answers.iter().enumerate() {
        let heard = heard_of(caller, &session.answers, number);
        if !window.has(answer.begun) {
            continue;
        }
        figures.counts.answers += 1;
        match heard.first() {
            Some(first) => figures.downlink.add(first.at - answer.begun),
            None => figures.counts.unheard += 1,
        }
        let left = span(heard);
        figures.counts.packets += heard.len() as u64;
        figures.counts.lost += left - heard.len() as u64;
        if let Some(cut_at) = answer.cut_at {
            figures.counts.truncations += 1;
            figures.truncation.add(cut_at.abs_diff(FRAME * u32::try_from(left).unwrap_or(0)));
        }
        if let Some(stop) = stop(talk, caller, answer, heard) {
            figures.counts.barge_ins += 1;
            figures.barge_in.add(stop);
        }
        worst = worst.max(gaps(figures, talk, caller, heard, window));
    }
    if let Some(worst) = worst {
        figures.worst_gap.add(worst);
    }
}

/// The packets between the first sound of an answer and that of the next.
fn heard_of<'a>(caller: &'a CallerLog, answers: &[Answered], number: usize) -> &'a [Heard] {
    let from = |answer: &Answered| caller.heard.partition_point(|heard| heard.at < answer.begun);
    let start = answers.get(number).map_or(caller.heard.len(), from);
    let end = answers.get(number + 1).map_or(caller.heard.len(), from);
    &caller.heard[start..end.max(start)]
}

/// How many packets have left, those that were lost on their way included.
fn span(heard: &[Heard]) -> u64 {
    match heard {
        [first, .., last] => last.sequence.saturating_sub(first.sequence) + 1,
        heard => heard.len() as u64,
    }
}

/// How long an answer went on after somebody had begun to speak over it.
fn stop(talk: &Talk, caller: &CallerLog, answer: &Answered, heard: &[Heard]) -> Option<Duration> {
    let last = heard.last()?.at;
    let over = caller.sayings.iter().filter(|saying| saying.over);
    let onsets = over.filter_map(|saying| audible(talk, caller, saying));
    let onset = onsets.filter(|onset| *onset > answer.begun).min()?;
    // An answer that has come to its end by itself was not stopped.
    let is_whole =
        answer.cut_at.is_none() && FRAME * u32::try_from(span(heard)).ok()? >= answer.sent;
    (!is_whole && onset <= last).then(|| last - onset)
}

/// When the first audible packet of a sentence was sent.
fn audible(talk: &Talk, caller: &CallerLog, saying: &Saying) -> Option<Instant> {
    let onset = talk.sentences[saying.sentence].onset;
    caller.sent.get(saying.tick + onset).copied().flatten()
}

/// The pauses between packets beyond what they should be; the worst of them.
///
/// While somebody speaks over an answer it is held, and may go on after that: no such pause counts.
fn gaps(
    figures: &mut Figures,
    talk: &Talk,
    caller: &CallerLog,
    heard: &[Heard],
    window: Window,
) -> Option<Duration> {
    let mut worst = None;
    for pair in heard.windows(2) {
        let [one, next] = pair else { continue };
        let steps = next.sequence.saturating_sub(one.sequence);
        if steps == 0 || !window.has(next.at) || is_held(talk, caller, one.at, next.at) {
            continue;
        }
        let due = FRAME * u32::try_from(steps).unwrap_or(u32::MAX);
        let gap = (next.at - one.at).saturating_sub(due);
        figures.gap.add(gap);
        worst = worst.max(Some(gap));
    }
    worst
}

/// Whether somebody spoke between two instants, or just before.
fn is_held(talk: &Talk, caller: &CallerLog, from: Instant, to: Instant) -> bool {
    caller.sayings.iter().rev().any(|saying| {
        let length = talk.sentences[saying.sentence].packets.len();
        let begun = caller.sent.get(saying.tick).copied().flatten();
        let ended =
            begun.map(|begun| begun + FRAME * u32::try_from(length).unwrap_or(0) + HOLD_MAX);
        begun.is_some_and(|begun| begun <= to) && ended.is_some_and(|ended| from <= ended)
    })
}

fn median(ways: &[Duration]) -> Duration {
    let mut ways = ways.to_vec();
    ways.sort_unstable();
    ways.get(ways.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a call has few frames for a float")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

const FRAME: Duration = Duration::from_millis(crate::media::FRAME_MS);
/// A frame cannot be at the model before it was sent; the two clocks are one.
const LEAD_FRAMES: usize = 1;
/// The longest way to the model that is looked for.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// So many packets make a part of a sentence: half a second, which has a shape of its own.
const PART_FRAMES: usize = 25;
/// So many frames may be won or lost between two parts.
const SLIP_FRAMES: usize = 10;
/// After a sentence, so many packets must follow: what is under way as a caller hangs up is lost.
const FAREWELL: usize = 10;
/// How much the levels of a part may differ: coding and losses change them a little.
const MISFIT_PERCENT_MAX: u64 = 50;
/// A longer pause than this ends a stretch, where nobody tells of answers.
const STRETCH_PAUSE: Duration = Duration::from_millis(200);
/// So long after the end of a sentence an answer may still be held because of it.
const HOLD_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn each_packets_way_is_found_by_the_shape_of_what_was_said() {
        let stage = Stage::new();
        let figures = stage.tally(&stage.session(|_| 7, 0));
        let counts = figures.counts;
        assert_eq!((counts.held, counts.sentences, counts.unmatched), (1, 2, 0));
        let spread = figures.uplink.spread();
        assert!((6.9..7.1).contains(&spread.min) && (6.9..7.1).contains(&spread.max), "{spread:?}");
        assert_eq!(figures.coverage, [100.0]);
        assert!(figures.drift.spread().max < 0.1 && figures.late.spread().max < 0.1);
    }

    #[test]
    fn frames_that_are_won_within_a_sentence_do_not_make_later_ones_early() {
        let stage = Stage::new();
        // Three frames of silence more from the middle of the first sentence on.
        let mut session = stage.session(|_| 7, 0);
        let at = stage.first + 40;
        let extra = FrameSeen { at: session.frames[at].at, level: 0 };
        session.frames.splice(at..at, [extra; 3]);
        let spread = stage.tally(&session).uplink.spread();
        assert!(spread.p95 < 7.1, "{spread:?}");
        let much = stage.caller.sent.len() - 50;
        assert!(spread.count >= much as u64 - 100, "{spread:?}");
    }

    #[test]
    fn sound_that_never_came_is_missing_in_the_coverage() {
        let stage = Stage::new();
        let mut session = stage.session(|_| 7, 0);
        let quiet = stage.first + stage.length + 5;
        session.frames.drain(quiet..quiet + 20);
        let figures = stage.tally(&session);
        let whole = stage.caller.sent.len() - stage.first;
        assert_eq!(figures.coverage, [percent(whole - 20, whole)]);
    }

    #[test]
    fn a_way_that_grows_is_told() {
        let stage = Stage::new();
        let session = stage.session(|tick| 7 + tick as u64 / 10, 0);
        let drift = stage.tally(&session).drift.spread().max;
        assert!((15.0..40.0).contains(&drift), "{drift}");
    }

    #[test]
    fn noise_instead_of_speech_is_not_taken_for_it() {
        let stage = Stage::new();
        let mut session = stage.session(|_| 7, 0);
        session.frames.iter_mut().for_each(|frame| frame.level = 20_000);
        assert_eq!(stage.tally(&session).counts.unmatched, 2);
    }

    #[test]
    fn an_answer_is_followed_from_its_first_sound_to_its_cut() {
        let mut stage = Stage::new();
        let begun = stage.at(stage.over - 45);
        // Packets from 4 ms after the first sound on, one of them 3 ms late.
        for number in 0..52_u64 {
            let late = u64::from(number == 10) * 3;
            let at = begun + ms(4 + 20 * number + late);
            stage.caller.heard.push(Heard { at, sequence: 100 + number });
        }
        let mut session = stage.session(|_| 7, 0);
        let sent = Duration::from_secs(4);
        session.answers.push(Answered { begun, sent, cut_at: Some(ms(1_000)) });
        let figures = stage.tally(&session);
        let counts = figures.counts;
        assert_eq!((counts.answers, counts.unheard, counts.lost), (1, 0, 0));
        assert_eq!((counts.truncations, counts.barge_ins, counts.packets), (1, 1, 52));
        let exactly = |times: &super::super::figures::Times, ms: f64| {
            let spread = times.spread();
            assert!((spread.max - ms).abs() < 0.1, "{spread:?} instead of {ms}");
        };
        exactly(&figures.downlink, 4.0);
        // 52 packets are 1,040 ms.
        exactly(&figures.truncation, 40.0);
        // It is spoken over after 900 ms, audibly 40 ms later; the last packet is 1,024 ms in.
        exactly(&figures.barge_in, 84.0);
        exactly(&figures.worst_gap, 3.0);
    }

    #[test]
    fn packets_that_were_lost_count_as_said() {
        let now = clock::now();
        let heard = |sequence| Heard { at: now, sequence };
        assert_eq!(span(&[]), 0);
        assert_eq!(span(&[heard(7)]), 1);
        assert_eq!(span(&[heard(7), heard(9), heard(10)]), 4);
    }

    /// A call in which two sentences are said, the second over an answer.
    struct Stage {
        talk: Talk,
        caller: CallerLog,
        start: Instant,
        first: usize,
        length: usize,
        over: usize,
    }

    impl Stage {
        fn new() -> Self {
            let talk = Talk::prepare().unwrap();
            let start = clock::now();
            let length = talk.sentences[0].packets.len();
            let (first, over) = (30, 300);
            let ticks = over + talk.sentences[1].packets.len() + 60;
            let said = |sentence, tick, over| Saying { sentence, tick, over };
            let caller = CallerLog {
                offered: start,
                connected: start,
                begun: start,
                sent: (0..ticks).map(|tick| Some(start + ms(20 * tick as u64))).collect(),
                sayings: vec![said(0, first, false), said(1, over, true)],
                heard: Vec::new(),
                missed: 0,
            };
            Self { talk, caller, start, first, length, over }
        }

        fn at(&self, tick: usize) -> Instant {
            self.caller.sent[tick].unwrap()
        }

        /// What the model sees, given each packet's way in ms, and frames of silence before.
        fn session(&self, way: impl Fn(usize) -> u64, silence: usize) -> SessionLog {
            let mut levels = vec![0; self.caller.sent.len()];
            for saying in &self.caller.sayings {
                let said = &self.talk.sentences[saying.sentence].levels;
                levels[saying.tick..][..said.len()].copy_from_slice(said);
            }
            let seen = |(tick, level): (usize, &u16)| FrameSeen {
                at: self.at(tick) + ms(way(tick)),
                level: *level,
            };
            let before = FrameSeen { at: self.start, level: 0 };
            let mut frames = vec![before; silence];
            frames.extend(levels.iter().enumerate().map(seen));
            SessionLog { call: Some(0), frames, answers: Vec::new() }
        }

        fn tally(&self, session: &SessionLog) -> Figures {
            let mut figures = Figures::default();
            let window = Window { from: self.start, to: self.start + Duration::from_secs(60) };
            tally(&mut figures, &self.talk, &self.caller, Some(session), window);
            figures
        }
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }
}
