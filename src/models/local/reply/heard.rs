//! PURE. What somebody has said or written, taken out of what a client tells of it.
//!
//! Clients tell events: `new-message: Ann wrote: what time is it?`, or `card-played: Ann played a
//! 7`. The rules are for the words of people.

/// Words, and whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard<'a> {
    /// The words themselves.
    pub(super) text: &'a str,
    /// Who said them, where that is told.
    pub(super) speaker: Option<&'a str>,
    /// Whether somebody said them; if not, they tell of something that has happened.
    pub(super) is_said: bool,
}

impl<'a> Heard<'a> {
    /// Words that were heard, as they are; but nobody says aloud what begins like an event.
    pub(super) fn aloud(text: &'a str) -> Self {
        if begins_event(newest(text)) {
            return Self::read(newest(text));
        }
        Self { text, speaker: None, is_said: true }
    }

    /// Words that were read, without what stands before them.
    pub(super) fn read(text: &'a str) -> Self {
        let text = text.trim();
        let (event, told) = match text.split_once(':') {
            Some((event, told)) if is_event(event) && !told.trim().is_empty() => {
                (Some(event), told.trim())
            }
            _ => (None, text),
        };
        if let Some((speaker, said)) = speech(told) {
            return Self { text: unquoted(said), speaker: Some(speaker), is_said: true };
        }
        let is_said = event.is_none_or(|event| event.contains("message"));
        Self { text: if is_said { unquoted(told) } else { told }, speaker: None, is_said }
    }
}

/// The last of several events that are told in one text, each from the beginning of a line.
pub(super) fn newest(text: &str) -> &str {
    let mut lines = text.match_indices('\n').map(|(at, _)| &text[at + 1..]);
    lines.rfind(|line| begins_event(line)).unwrap_or(text)
}

fn begins_event(text: &str) -> bool {
    let told = text.lines().next().and_then(|line| line.split_once(':'));
    told.is_some_and(|(name, told)| is_event(name) && !told.trim().is_empty())
}

/// An event's name, and not the beginning of a sentence.
fn is_event(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_part)
}

/// Who speaks, and what: `Ann wrote: hello`, `Ann says "hello"`.
fn speech(text: &str) -> Option<(&str, &str)> {
    let split = |verb: &&str| {
        let (speaker, said) = text.split_once(&format!(" {verb}"))?;
        let said = match said.strip_prefix(':') {
            Some(said) => said.trim(),
            None => said.strip_prefix(' ').filter(|said| said.starts_with(OPENING_QUOTES))?,
        };
        let is_name = !speaker.contains([':', '.', '?', '!', ','])
            && speaker.split_whitespace().count() <= NAME_WORDS_MAX;
        (is_name && !said.is_empty()).then_some((speaker.trim(), said))
    };
    // The first verb is the frame's; later ones are what was said.
    VERBS.iter().filter_map(split).min_by_key(|(speaker, _)| speaker.len())
}

fn unquoted(text: &str) -> &str {
    let inner =
        text.strip_prefix(OPENING_QUOTES).and_then(|text| text.strip_suffix(CLOSING_QUOTES));
    inner.filter(|inner| !inner.contains(OPENING_QUOTES)).unwrap_or(text)
}

const VERBS: &[&str] =
    &["wrote", "writes", "said", "says", "asked", "asks", "sent", "sent a message", "replied"];
const OPENING_QUOTES: [char; 2] = ['"', '\u{201c}'];
const CLOSING_QUOTES: [char; 2] = ['"', '\u{201d}'];
const NAME_WORDS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_out_of_what_is_told_of_them() {
        for (told, text, speaker) in [
            ("new-message: Ann wrote: what time is it?", "what time is it?", Some("Ann")),
            ("new-message: Ann wrote: \"hi\"", "hi", Some("Ann")),
            ("Ann Lee says \"he said: no\"", "he said: no", Some("Ann Lee")),
            ("chat: Bob asked: is it 3:30?", "is it 3:30?", Some("Bob")),
            ("new-message: what time is it?", "what time is it?", None),
            ("What time is it?", "What time is it?", None),
            ("Repeat after me: it said so", "Repeat after me: it said so", None),
            ("My sister wrote a book", "My sister wrote a book", None),
        ] {
            assert_eq!(Heard::read(told), Heard { text, speaker, is_said: true }, "{told}");
        }
    }

    #[test]
    fn what_was_heard_is_taken_as_it_is_unless_it_was_told() {
        let heard = |text| (Heard::aloud(text).text, Heard::aloud(text).speaker);
        assert_eq!(heard("Ann says: hello"), ("Ann says: hello", None));
        assert_eq!(heard("new-message: Ann wrote: hello"), ("hello", Some("Ann")));
    }

    #[test]
    fn of_several_events_the_newest_counts_with_all_of_its_lines() {
        for (told, last) in [
            ("chat: Ann wrote: hi\nchat: Bob wrote: ho\nand hum", "chat: Bob wrote: ho\nand hum"),
            ("chat: Ann wrote: one\ntwo: three", "two: three"),
            ("chat: Ann wrote: one\nTwo: three", "chat: Ann wrote: one\nTwo: three"),
            ("hello", "hello"),
        ] {
            assert_eq!(newest(told), last);
        }
    }

    #[test]
    fn what_has_happened_is_not_what_was_said() {
        let heard = Heard::read("card-played: Ann played a 7");
        let expected = Heard { text: "Ann played a 7", speaker: None, is_said: false };
        assert_eq!(heard, expected);
    }
}
