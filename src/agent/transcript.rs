//! The record of one conversation, bounded: who said what, and of the agent only what was heard.

use std::collections::VecDeque;

use crate::ids::ParticipantId;
use crate::privacy::Pii;

/// What was said in a call, oldest first.
#[derive(Debug, Default, PartialEq)]
pub struct Transcript {
    lines: VecDeque<Line>,
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Who said it; `None` is the agent.
    pub participant: Option<ParticipantId>,
    /// The words.
    pub text: Pii<String>,
    /// When, in milliseconds of the call.
    pub at_ms: u64,
}

impl Transcript {
    /// The lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    pub(super) fn push(&mut self, line: Line) {
        if line.text.expose().trim().is_empty() {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// The part of `text` that fits into what was heard of its sound, cut between words.
pub(super) fn heard_part(text: &str, heard_ms: u64, received_ms: u64) -> &str {
    if heard_ms >= received_ms {
        return text;
    }
    let whole = u128::from(received_ms.max(1));
    let budget = text.len() as u128 * u128::from(heard_ms) / whole;
    let ends = text.match_indices(' ').map(|(at, _)| at);
    let cut = ends.take_while(|&at| at as u128 <= budget).last().unwrap_or(0);
    &text[..cut]
}

/// The longest record kept: some hours of talk. The oldest line goes first.
const LINES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heard_part_is_cut_between_words() {
        let text = "one two three four";
        assert_eq!(heard_part(text, 1000, 1000), text);
        assert_eq!(heard_part(text, 500, 1000), "one two");
        assert_eq!(heard_part(text, 100, 1000), "");
        assert_eq!(heard_part(text, 0, 1000), "");
        assert_eq!(heard_part("", 5, 1000), "");
    }

    #[test]
    fn the_oldest_line_goes_first() {
        let mut transcript = Transcript::default();
        for at_ms in 0..=LINES_MAX as u64 {
            let text = Pii::new("hm".to_owned());
            transcript.push(Line { participant: None, text, at_ms });
        }
        assert_eq!(transcript.lines().count(), LINES_MAX);
        assert_eq!(transcript.lines().next().map(|line| line.at_ms), Some(1));
    }
}
