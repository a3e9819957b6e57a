//! The recogniser's vocabulary: token numbers to text (`tokenizer.bin`).

/// Where a sentence begins.
pub(super) const START: usize = 1;
/// Where a sentence ends.
pub(super) const END: usize = 2;

/// Every token's bytes, by its number.
///
/// The file has one entry a token: its length in bytes, then so many bytes. A length above 127
/// takes two bytes, low seven bits first. A word begins with U+2581, in place of a space; letters
/// outside the vocabulary are spelt by tokens of one byte each.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Box<[u8]>>);

/// The file is not a vocabulary.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokensError {
    /// The last entry is longer than the file.
    #[error("it ends within entry {0}")]
    CutOff(usize),
    /// The recogniser has more tokens than the file.
    #[error("it has {0} entries, and the recogniser needs {VOCABULARY}")]
    WrongSize(usize),
}

impl Tokens {
    /// Reads the whole file.
    pub(super) fn read(file: &[u8]) -> Result<Self, TokensError> {
        let tokens = entries(file)?;
        match tokens.len() {
            VOCABULARY => Ok(Self(tokens)),
            other => Err(TokensError::WrongSize(other)),
        }
    }

    /// The text that tokens spell, without marks that are no text.
    pub(super) fn text(&self, tokens: &[usize]) -> String {
        let spelt = |token: &&usize| TEXT.contains(*token);
        let bytes: Vec<u8> = tokens
            .iter()
            .filter(spelt)
            .filter_map(|token| self.0.get(*token))
            .flat_map(|bytes| bytes.iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).replace(WORD_START, " ").trim().to_owned()
    }
}

fn entries(mut file: &[u8]) -> Result<Vec<Box<[u8]>>, TokensError> {
    let mut tokens = Vec::with_capacity(VOCABULARY);
    while let Some((&first, rest)) = file.split_first() {
        let cut_off = TokensError::CutOff(tokens.len());
        let (length, rest) = match (first, rest.split_first()) {
            (..=127, _) => (usize::from(first), rest),
            (_, Some((&second, rest))) => {
                (usize::from(second) * 128 + usize::from(first & 127), rest)
            }
            (_, None) => return Err(cut_off),
        };
        let Some((entry, rest)) = rest.split_at_checked(length) else {
            return Err(cut_off);
        };
        tokens.push(entry.into());
        file = rest;
    }
    Ok(tokens)
}

/// How many tokens the model knows.
pub(super) const VOCABULARY: usize = 32_768;
/// The first three tokens are marks, and so are the last 768.
const TEXT: std::ops::Range<usize> = 3..32_000;
const WORD_START: char = '\u{2581}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_by_their_lengths() {
        let mut file = vec![2, b'h', b'i', 0, 0x80 | 2, 1];
        file.extend([b'x'; 130]);
        let entries = entries(&file).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!((&*entries[0], &*entries[1], entries[2].len()), (&b"hi"[..], &b""[..], 130));
    }

    #[test]
    fn a_file_that_ends_within_an_entry_is_refused() {
        assert_eq!(entries(&[1, b'a', 5, b'b']).unwrap_err(), TokensError::CutOff(1));
        assert_eq!(entries(&[0x81]).unwrap_err(), TokensError::CutOff(0));
    }

    #[test]
    fn a_short_vocabulary_is_refused() {
        assert_eq!(Tokens::read(&[1, b'a']).unwrap_err(), TokensError::WrongSize(1));
    }

    #[test]
    fn words_begin_at_their_marks_and_bytes_join_into_letters() {
        let mut tokens: Vec<Box<[u8]>> = vec![Box::from(*b"<s>"); 3];
        let words: [&[u8]; 4] =
            ["\u{2581}Caf".as_bytes(), &[0xc3], &[0xa9], "\u{2581}now".as_bytes()];
        tokens.extend(words.map(Box::from));
        let tokens = Tokens(tokens);
        assert_eq!(tokens.text(&[START, 3, 4, 5, 6, END, 99_999]), "Café now");
    }
}
