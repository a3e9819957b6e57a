//! What was said in a call, line by line; of the agent, only what was heard.

use crate::ids::ParticipantId;
use crate::privacy::Pii;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Who said it; `None` is the agent.
    pub participant: Option<ParticipantId>,
    /// The words.
    pub text: Pii<String>,
    /// When it began to be said, in milliseconds of the call.
    pub at_ms: u64,
}

/// Where the sound of an utterance was cut, in milliseconds of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// How much of it was heard.
    pub heard_ms: u64,
    /// Up to where: what was heard, and the silence before it that was left out.
    pub end_ms: u64,
    /// How much of it the model had delivered.
    pub received_ms: u64,
    /// Whether that was all of it.
    pub is_complete: bool,
}

/// How fast the agent speaks, learnt from what it has said to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    chars: u64,
    ms: u64,
}

impl Default for Pace {
    /// 15 characters a second, and two seconds of belief in it.
    fn default() -> Self {
        Self { chars: 30, ms: 2_000 }
    }
}

impl Pace {
    /// Takes in a text and how long its sound is.
    pub(super) fn learn(&mut self, text: &str, ms: u64) {
        let chars = text.chars().count() as u64;
        // A sound without its words, or words without sound, would teach nonsense.
        if !(CHARS_PER_SECOND_MIN * ms..=CHARS_PER_SECOND_MAX * ms).contains(&(chars * 1_000)) {
            return;
        }
        self.chars += chars;
        self.ms += ms;
        if self.ms > MEMORY_MS {
            (self.chars, self.ms) = (self.chars / 2, self.ms / 2);
        }
    }

    /// The part of `text` that was heard until the cut, ended between words.
    ///
    /// Text may be far ahead of sound that is not complete: then no more of it was heard than can
    /// be spoken in that time.
    pub(super) fn heard_part(self, text: &str, cut: Cut) -> &str {
        let is_whole = cut.end_ms >= cut.received_ms;
        if is_whole && cut.is_complete {
            return text;
        }
        let chars = text.chars().count() as u64;
        let in_proportion = chars * cut.end_ms.min(cut.received_ms) / cut.received_ms.max(1);
        let spoken = self.chars * cut.heard_ms / self.ms;
        let budget = if cut.is_complete { in_proportion } else { in_proportion.min(spoken) };
        first_words(text, usize::try_from(budget).unwrap_or(usize::MAX))
    }
}

/// The part of `text` that was heard until the cut, at the pace of people who are not known.
#[must_use]
pub fn heard_words(text: &str, cut: Cut) -> &str {
    Pace::default().heard_part(text, cut)
}

/// As many whole words as fit into so many characters; characters, if there are no words.
fn first_words(text: &str, budget: usize) -> &str {
    let Some((end, next)) = text.char_indices().nth(budget) else { return text };
    if next.is_whitespace() || !text.contains(char::is_whitespace) {
        return &text[..end];
    }
    text[..end].rfind(char::is_whitespace).map_or("", |at| text[..at].trim_end())
}

/// Nobody speaks slower, or faster, in any script.
const CHARS_PER_SECOND_MIN: u64 = 3;
const CHARS_PER_SECOND_MAX: u64 = 40;

/// What was said longer ago counts for less.
const MEMORY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "one two three four";

    #[test]
    fn the_heard_part_of_a_complete_sound_is_cut_between_words() {
        let heard = |text, end_ms| Pace::default().heard_part(text, complete(end_ms, 1000));
        assert_eq!(heard(TEXT, 1000), TEXT);
        assert_eq!(heard(TEXT, 500), "one two");
        assert_eq!(heard(TEXT, 100), "");
        assert_eq!(heard(TEXT, 0), "");
        assert_eq!(heard("", 5), "");
        assert_eq!(heard("そうですね", 600), "そうで");
    }

    #[test]
    fn of_a_sound_that_is_not_complete_no_more_was_heard_than_can_be_said() {
        let begun =
            |heard_ms, received_ms| Cut { is_complete: false, ..complete(heard_ms, received_ms) };
        let ahead = "a sentence whose words have come long before most of its sound";
        assert_eq!(Pace::default().heard_part(ahead, begun(1000, 1000)), "a sentence");
        assert_eq!(Pace::default().heard_part(ahead, begun(1000, 8000)), "a");
        assert_eq!(Pace::default().heard_part(ahead, begun(0, 1000)), "");
    }

    #[test]
    fn silence_that_was_left_out_counts_for_the_place_and_not_for_the_pace() {
        let cut = Cut { heard_ms: 200, end_ms: 600, received_ms: 1200, is_complete: true };
        assert_eq!(Pace::default().heard_part(TEXT, cut), "one two");
        let cut = Cut { is_complete: false, ..cut };
        assert_eq!(Pace::default().heard_part(TEXT, cut), "one");
    }

    #[test]
    fn the_pace_is_learnt_from_what_makes_sense() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.learn("twenty characters...", 2_000);
            pace.learn("", 2_000);
            pace.learn("no sound", 0);
        }
        // Ten characters a second, less what halving has rounded off.
        assert!((9..=10).contains(&(pace.chars * 1_000 / pace.ms)));
    }

    fn complete(end_ms: u64, received_ms: u64) -> Cut {
        Cut { heard_ms: end_ms, end_ms, received_ms, is_complete: true }
    }
}
