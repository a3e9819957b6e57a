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
    /// When, in milliseconds of the call.
    pub at_ms: u64,
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
}
