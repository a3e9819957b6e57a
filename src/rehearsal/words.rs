//! One line of a scenario as words: bare ones, quoted ones, and JSON at the end.

use std::collections::VecDeque;
use std::time::Duration;

/// The words of a line that were not read yet.
#[derive(Debug)]
pub(super) struct Line {
    words: VecDeque<Word>,
}

#[derive(Debug, PartialEq)]
enum Word {
    Bare(String),
    Quoted(String),
    Json(String),
}

impl Line {
    /// Splits a line; what follows `#` is a comment.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut words = VecDeque::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '#' => break,
                '"' => {
                    let inside = &rest[1..];
                    let end = inside.find('"').ok_or("a quote is open")?;
                    words.push_back(Word::Quoted(inside[..end].to_owned()));
                    end + 2
                }
                '{' => {
                    let end = json_length(rest).ok_or("a brace is open")?;
                    words.push_back(Word::Json(rest[..end].to_owned()));
                    end
                }
                _ => {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    words.push_back(Word::Bare(rest[..end].to_owned()));
                    end
                }
            };
            rest = rest[length..].trim_start();
        }
        Ok(Self { words })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn expect_end(&self) -> Result<(), String> {
        match self.words.front() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is one word too many")),
        }
    }

    /// The next word, which must be bare.
    pub(super) fn word(&mut self) -> Result<String, String> {
        self.bare_if(|_| true).ok_or_else(|| "a word is missing".to_owned())
    }

    /// The next word as a number.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("{word:?} is no such number"))
    }

    /// The next word, which must be this one.
    pub(super) fn keyword(&mut self, word: &str) -> Result<(), String> {
        self.bare_if(|next| next == word).map(|_| ()).ok_or_else(|| format!("{word:?} is missing"))
    }

    /// The next word, if it is bare and begins with a letter.
    pub(super) fn name(&mut self) -> Option<String> {
        self.bare_if(|next| next.starts_with(|sign: char| sign.is_ascii_alphabetic()))
    }

    /// The unit that stands apart from its number, if it does.
    pub(super) fn unit(&mut self) -> String {
        self.bare_if(|next| matches!(next, "s" | "ms")).unwrap_or_default()
    }

    pub(super) fn plus(&mut self) -> bool {
        self.bare_if(|next| next == "+").is_some()
    }

    pub(super) fn quoted(&mut self) -> Option<String> {
        match self.words.pop_front_if(|word| matches!(word, Word::Quoted(_)))? {
            Word::Quoted(text) => Some(text),
            Word::Bare(_) | Word::Json(_) => None,
        }
    }

    pub(super) fn json(&mut self) -> Option<String> {
        match self.words.pop_front_if(|word| matches!(word, Word::Json(_)))? {
            Word::Json(text) => Some(text),
            Word::Bare(_) | Word::Quoted(_) => None,
        }
    }

    fn bare_if(&mut self, test: impl Fn(&str) -> bool) -> Option<String> {
        match self.words.pop_front_if(|word| matches!(word, Word::Bare(text) if test(text)))? {
            Word::Bare(text) => Some(text),
            Word::Quoted(_) | Word::Json(_) => None,
        }
    }
}

/// The lines of a text, with the number of each, or of its end if it goes on over several.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut whole = String::new();
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        let line = line.trim();
        let part = line.strip_suffix('\\');
        whole.push_str(part.unwrap_or(line));
        part.is_none().then(|| (number, std::mem::take(&mut whole)))
    })
}

/// How long the object is that a text begins with.
fn json_length(text: &str) -> Option<usize> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, sign) in text.char_indices() {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '{' if !is_quoted => depth += 1,
            '}' if !is_quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// `1.5`, `1.5s` or `80ms`.
pub(super) fn seconds(word: &str) -> Result<Duration, String> {
    let (digits, unit) = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1_000.0),
        (None, Some(digits)) => (digits, 1.0),
        (None, None) => (word, 1.0),
    };
    let value = number(digits)? / unit;
    Duration::try_from_secs_f64(value).map_err(|_| format!("{word:?} is no time"))
}

pub(super) fn number(digits: &str) -> Result<f64, String> {
    digits.parse().map_err(|_| format!("{digits:?} is no number"))
}

/// `0.5..2.5`.
pub(super) fn range(word: &str) -> Result<(Duration, Duration), String> {
    let (from, to) = word.split_once("..").ok_or_else(|| format!("{word:?} is no FROM..TO"))?;
    let (from, to) = (seconds(from)?, seconds(to)?);
    if from < to { Ok((from, to)) } else { Err(format!("{word:?} ends before it begins")) }
}
