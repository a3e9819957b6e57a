//! What one caller says and when: a machine that is asked every 20 ms, and throws dice of its own.

use std::time::Duration;

use super::dice::Dice;
use crate::media::FRAME_MS;

/// How callers behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Of a hundred answers, so many are spoken over.
    pub(super) barge_in_percent: f64,
    /// Whether the agent speaks first.
    pub(super) is_greeted: bool,
}

/// A caller's part of the conversation.
#[derive(Debug)]
pub(super) struct Script {
    dice: Dice,
    manner: Manner,
    sentences: Vec<usize>,
    state: State,
    missed: u32,
}

/// What to do in this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing is said.
    Silence,
    /// A sentence begins with this tick: its first packet.
    Begin {
        /// Which one.
        sentence: usize,
        /// Whether somebody else is speaking.
        over: bool,
    },
    /// This packet of a sentence.
    Go {
        /// Which one.
        sentence: usize,
        /// Its packet.
        packet: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing to say before this tick.
    Pausing { until: u64 },
    /// Amid a sentence; `packet` is the next.
    Saying { sentence: usize, packet: usize },
    /// An answer is waited for, but not for ever.
    Waiting { since: u64, patience: u64 },
    /// The other side speaks, and may be spoken over at a tick.
    Hearing { over_at: Option<u64> },
}

impl Script {
    /// `sentences` are the lengths of what there is to say, in packets.
    pub(super) fn new(mut dice: Dice, manner: Manner, sentences: Vec<usize>) -> Self {
        let state = match manner.is_greeted {
            true => State::Waiting { since: 0, patience: GREETING_PATIENCE },
            false => State::Pausing { until: ticks(dice.between(PAUSE)) },
        };
        Self { dice, manner, sentences, state, missed: 0 }
    }

    /// What to do in tick number `now`, given for how many ticks nothing was heard; `None` if
    /// nothing was heard yet.
    pub(super) fn act(&mut self, now: u64, quiet_for: Option<u64>) -> Act {
        let is_speaking = quiet_for.is_some_and(|quiet| quiet < QUIET);
        match self.state {
            State::Pausing { until } if now >= until => self.begin(false),
            State::Pausing { .. } => Act::Silence,
            State::Saying { sentence, packet } => self.go_on(now, sentence, packet),
            State::Waiting { since, patience } => {
                if is_speaking {
                    let over = self.dice.chance(self.manner.barge_in_percent);
                    let over_at = over.then(|| now + ticks(self.dice.between(OVER)));
                    self.state = State::Hearing { over_at };
                } else if now - since >= patience {
                    self.missed += u32::from(patience == PATIENCE);
                    self.pause(now);
                }
                Act::Silence
            }
            State::Hearing { over_at: Some(at) } if now >= at && is_speaking => self.begin(true),
            State::Hearing { .. } => {
                if !is_speaking {
                    self.pause(now);
                }
                Act::Silence
            }
        }
    }

    /// How many answers never came.
    pub(super) const fn missed(&self) -> u32 {
        self.missed
    }

    fn begin(&mut self, over: bool) -> Act {
        let sentence = self.dice.below(self.sentences.len() as u64);
        let sentence = usize::try_from(sentence).unwrap_or_default();
        self.state = State::Saying { sentence, packet: 1 };
        Act::Begin { sentence, over }
    }

    fn go_on(&mut self, now: u64, sentence: usize, packet: usize) -> Act {
        let length = self.sentences.get(sentence).copied().unwrap_or_default();
        self.state = match packet + 1 < length {
            true => State::Saying { sentence, packet: packet + 1 },
            false => State::Waiting { since: now, patience: PATIENCE },
        };
        Act::Go { sentence, packet }
    }

    fn pause(&mut self, now: u64) {
        self.state = State::Pausing { until: now + ticks(self.dice.between(PAUSE)) };
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) / FRAME_MS
}

/// Before somebody begins to speak of himself.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(300)..Duration::from_millis(1_200);
/// Into an answer, before it is spoken over.
const OVER: std::ops::Range<Duration> = Duration::from_millis(1_000)..Duration::from_millis(2_000);
/// So many ticks without a packet, and the other side has stopped: 300 ms.
const QUIET: u64 = 15;
/// So many ticks for an answer: 10 s. None comes later than that.
const PATIENCE: u64 = 500;
/// So many ticks for a greeting: 5 s. Without one, the caller begins.
const GREETING_PATIENCE: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_said_whole_and_then_an_answer_is_waited_for() {
        let mut script = script(0.0, false);
        let acts: Vec<Act> = (0..100).map(|now| script.act(now, None)).collect();
        let begin = acts.iter().position(|act| *act != Act::Silence).unwrap();
        assert!((15..=60).contains(&begin), "{begin}");
        assert_eq!(acts[begin], Act::Begin { sentence: 0, over: false });
        assert_eq!(acts[begin + 1], Act::Go { sentence: 0, packet: 1 });
        assert_eq!(acts[begin + 2], Act::Go { sentence: 0, packet: 2 });
        assert!(acts[begin + 3..].iter().all(|act| *act == Act::Silence));
    }

    #[test]
    fn an_answer_that_never_comes_is_counted_and_asked_for_again() {
        let mut script = script(0.0, false);
        let begins = (0..1_000).filter(|now| is_begin(script.act(*now, None))).count();
        assert_eq!((begins, script.missed()), (2, 1));
    }

    #[test]
    fn an_answer_may_be_spoken_over_while_it_is_heard() {
        let mut script = script(100.0, true);
        let over = (0..500).find(|now| script.act(*now, Some(0)) != Act::Silence);
        assert!((50..=101).contains(&over.unwrap()), "{over:?}");
    }

    #[test]
    fn nobody_waits_for_a_greeting_for_ever() {
        let mut script = script(0.0, true);
        let begin = (0..1_000).find(|now| is_begin(script.act(*now, None))).unwrap();
        assert!((265..320).contains(&begin), "{begin}");
        assert_eq!(script.missed(), 0);
    }

    fn script(barge_in_percent: f64, is_greeted: bool) -> Script {
        let manner = Manner { barge_in_percent, is_greeted };
        Script::new(Dice::new(1, 1), manner, vec![3])
    }

    const fn is_begin(act: Act) -> bool {
        matches!(act, Act::Begin { .. })
    }
}
