//! PURE. A sentence as words that can be searched, each with its place in the text.

/// A sentence and its words.
#[derive(Debug)]
pub(super) struct Words<'a> {
    text: &'a str,
    words: Vec<Word>,
}

#[derive(Debug)]
struct Word {
    /// In lower case, without the punctuation around it.
    plain: String,
    start: usize,
    end: usize,
}

impl<'a> Words<'a> {
    /// Takes a sentence apart.
    pub(super) fn of(text: &'a str) -> Self {
        let words = text.split_whitespace().filter_map(|token| {
            let start = token.as_ptr() as usize - text.as_ptr() as usize;
            let is_kept = |c: char| c.is_alphanumeric() || "+*/%".contains(c);
            let inner = token.trim_matches(|c: char| !is_kept(c));
            let start = start + (inner.as_ptr() as usize - token.as_ptr() as usize);
            let plain = inner.to_lowercase().replace('\u{2019}', "'");
            (!plain.is_empty()).then(|| Word { plain, start, end: start + inner.len() })
        });
        Self { text, words: words.collect() }
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words, plain.
    pub(super) fn plain(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.words.iter().map(|word| word.plain.as_str())
    }

    /// A word as it was said.
    pub(super) fn spoken(&self, place: usize) -> Option<&'a str> {
        self.words.get(place).map(|word| &self.text[word.start..word.end])
    }

    /// The place after the first `phrase` there is.
    pub(super) fn find(&self, phrase: &str) -> Option<usize> {
        let length = phrase.split(' ').count();
        let matches = |place: &usize| {
            let words = self.words[*place..*place + length].iter().map(|word| word.plain.as_str());
            words.eq(phrase.split(' '))
        };
        (0..(self.len() + 1).saturating_sub(length)).find(matches).map(|place| place + length)
    }

    /// The place after the first of several phrases that is there.
    pub(super) fn find_any(&self, phrases: &[&str]) -> Option<usize> {
        phrases.iter().find_map(|phrase| self.find(phrase))
    }

    /// Whether one of the phrases is there.
    pub(super) fn has_any(&self, phrases: &[&str]) -> bool {
        self.find_any(phrases).is_some()
    }

    /// The text from a place on, if a word is there.
    pub(super) fn from(&self, place: usize) -> Option<&'a str> {
        self.words.get(place).map(|word| &self.text[word.start..])
    }

    /// The text from the word at `place` up to the next punctuation that ends a clause.
    pub(super) fn clause(&self, place: usize) -> Option<&'a str> {
        let clause = self.from(place)?;
        let end = clause.find(['.', ',', '?', '!', ';']).unwrap_or(clause.len());
        Some(clause[..end].trim())
    }
}

/// Text as a whole sentence: a capital in front, a stop behind.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let mut sentence: String = first.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.truncate(sentence.trim_end_matches([',', ';', ':']).len());
        sentence.push('.');
    }
    sentence
}

/// Text in the pieces a voice makes one by one. No piece is empty.
pub(in super::super) fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut piece = String::new();
    for token in text.split_whitespace() {
        if !piece.is_empty() {
            piece.push(' ');
        }
        piece.push_str(token);
        let is_end = token.ends_with(['.', '!', '?'])
            || (piece.len() > LONG && token.ends_with([',', ';', ':']))
            || piece.len() > TOO_LONG;
        if is_end {
            sentences.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        sentences.push(piece);
    }
    sentences
}

/// Bytes after which a comma ends a piece.
const LONG: usize = 160;
/// Bytes after which any word does.
const TOO_LONG: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_whatever_their_case_and_punctuation() {
        let words = Words::of("Repeat after me, the \u{201c}Quick\u{201d} fox.");
        assert_eq!(words.find("repeat after me"), Some(3));
        assert_eq!(words.from(3), Some("the \u{201c}Quick\u{201d} fox."));
        assert_eq!((words.find("me quick"), words.spoken(4)), (None, Some("Quick")));
        assert_eq!(words.find("the quick fox and more than there is"), None);
    }

    #[test]
    fn a_clause_ends_at_its_punctuation() {
        let words = Words::of("The weather in New York, please.");
        assert_eq!(words.clause(3), Some("New York"));
        assert_eq!(words.clause(9), None);
    }

    #[test]
    fn a_sentence_has_a_capital_and_a_stop() {
        assert_eq!(sentence("hello there,"), "Hello there.");
        assert_eq!((sentence("Why?"), sentence(" ")), ("Why?".to_owned(), String::new()));
    }

    #[test]
    fn text_is_spoken_sentence_by_sentence() {
        assert_eq!(sentences("One. Two three! Four"), ["One.", "Two three!", "Four"]);
        assert!(sentences(" \n").is_empty());
        assert!(sentences(&"word, ".repeat(100)).iter().all(|piece| piece.len() < 170));
    }
}
