//! PURE. Numbers as words, words as numbers, and sums.

use super::words::Words;

/// A whole number as it is said; from a million on, its digits.
pub(super) fn spelt(number: i64) -> String {
    let size = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let text = match size {
        0..20 => SMALL[size].to_owned(),
        20..100 if size.is_multiple_of(10) => TENS[size / 10].to_owned(),
        20..100 => format!("{}-{}", TENS[size / 10], SMALL[size % 10]),
        100..1_000_000 => {
            let (unit, name) = if size < 1000 { (100, "hundred") } else { (1000, "thousand") };
            let head = format!("{} {name}", spelt(place(size / unit)));
            match size % unit {
                0 => head,
                rest if rest < 100 => format!("{head} and {}", spelt(place(rest))),
                rest => format!("{head} {}", spelt(place(rest))),
            }
        }
        _ => size.to_string(),
    };
    if number < 0 { format!("minus {text}") } else { text }
}

/// `first` to `third` and so on, up to the days of a month.
pub(super) fn ordinal(number: i8) -> String {
    let text = spelt(i64::from(number));
    let (head, last) = match text.rsplit_once('-') {
        Some((head, last)) => (format!("{head}-"), last),
        None => (String::new(), text.as_str()),
    };
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    head + &last
}

/// The number that begins at a word, and how many words it has.
pub(super) fn number_at(words: &[&str]) -> Option<(i64, usize)> {
    let digits = words.first()?.replace(',', "");
    if let Ok(number) = digits.parse() {
        return Some((number, 1));
    }
    let (mut total, mut group, mut taken) = (0_i64, None, 0);
    for (place, word) in words.iter().enumerate() {
        match (group, *word) {
            (Some(size), "hundred") if size < 10 => group = Some(size * 100),
            (Some(size), "thousand") if total == 0 => {
                total = size * 1000;
                group = Some(0);
            }
            (Some(size), "and") if size % 100 == 0 && place + 1 < words.len() => continue,
            (size, word) => match below_hundred(word) {
                Some(more) if fits(size, more, total) => group = Some(size.unwrap_or(0) + more),
                Some(_) | None => break,
            },
        }
        taken = place + 1;
    }
    Some((total + group?, taken))
}

/// Every number in a sentence.
pub(super) fn numbers(words: &Words<'_>) -> Vec<i64> {
    let plain: Vec<&str> = words.plain().collect();
    let (mut found, mut place) = (Vec::new(), 0);
    while place < plain.len() {
        place += match number_at(&plain[place..]) {
            Some((number, length)) => {
                found.push(number);
                length
            }
            None => 1,
        };
    }
    found
}

/// The outcome of a sum of two numbers, as a sentence.
pub(super) fn sum(words: &Words<'_>) -> Option<String> {
    let plain: Vec<&str> = words.plain().collect();
    (0..plain.len()).find_map(|place| {
        let (left, length) = number_at(&plain[place..])?;
        let rest = &plain[place + length..];
        let (sign, length) = sign_at(rest)?;
        let (right, _) = number_at(&rest[length..])?;
        Some(outcome(left, sign, right))
    })
}

#[derive(Clone, Copy)]
enum Sign {
    Plus,
    Minus,
    Times,
    Over,
}

fn sign_at(words: &[&str]) -> Option<(Sign, usize)> {
    Some(match words {
        ["plus" | "+", ..] => (Sign::Plus, 1),
        ["minus" | "-", ..] => (Sign::Minus, 1),
        ["times" | "x" | "*", ..] => (Sign::Times, 1),
        ["multiplied", "by", ..] => (Sign::Times, 2),
        ["over" | "/", ..] => (Sign::Over, 1),
        ["divided", "by", ..] => (Sign::Over, 2),
        _ => return None,
    })
}

fn outcome(left: i64, sign: Sign, right: i64) -> String {
    let whole = match sign {
        Sign::Plus => left.checked_add(right),
        Sign::Minus => left.checked_sub(right),
        Sign::Times => left.checked_mul(right),
        Sign::Over if right == 0 => return "Nothing can be divided by zero.".to_owned(),
        Sign::Over if left % right == 0 => left.checked_div(right),
        Sign::Over => {
            return format!(
                "That is {}, and {} left over.",
                spelt(left / right),
                spelt(left % right)
            );
        }
    };
    match whole {
        Some(number) => format!("That is {}.", spelt(number)),
        None => "That is more than I can count.".to_owned(),
    }
}

/// Whether a word can follow what has been said of a number: twenty one, but not one twenty.
fn fits(size: Option<i64>, more: i64, total: i64) -> bool {
    match size {
        None => true,
        Some(0) => total > 0,
        Some(size) if size % 100 == 0 => true,
        Some(size) => size % 10 == 0 && size % 100 >= 20 && (1..10).contains(&more),
    }
}

fn below_hundred(word: &str) -> Option<i64> {
    if let Some((tens, ones)) = word.split_once('-') {
        let (tens, ones) = (below_hundred(tens)?, below_hundred(ones)?);
        return (tens >= 20 && ones < 10).then_some(tens + ones);
    }
    let tens = TENS.iter().position(|name| *name == word).filter(|tens| *tens > 1);
    let small = || SMALL.iter().position(|name| *name == word);
    tens.map(|tens| tens * 10).or_else(small).map(place)
}

fn place(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        let said = [0, 13, 40, 21, 105, 342, 2000, 5_017, -3, 1_234_567].map(spelt);
        assert_eq!(
            said,
            [
                "zero",
                "thirteen",
                "forty",
                "twenty-one",
                "one hundred and five",
                "three hundred and forty-two",
                "two thousand",
                "five thousand and seventeen",
                "minus three",
                "1234567",
            ]
        );
    }

    #[test]
    fn days_of_the_month_are_ordinals() {
        let said = [1, 2, 3, 5, 12, 20, 22, 30].map(ordinal);
        assert_eq!(
            said,
            [
                "first",
                "second",
                "third",
                "fifth",
                "twelfth",
                "twentieth",
                "twenty-second",
                "thirtieth",
            ]
        );
    }

    #[test]
    fn words_and_digits_are_read_back() {
        for number in (0..2500).chain([9_999, 12_345, 99_100]) {
            let said = spelt(number);
            assert_eq!(numbers(&Words::of(&said)), [number], "{said}");
        }
        assert_eq!(
            numbers(&Words::of("7 of 1,200, then one two and twenty one")),
            [7, 1200, 1, 2, 21]
        );
    }

    #[test]
    fn sums_come_out() {
        let of = |text| sum(&Words::of(text));
        assert_eq!(of("What is twenty one plus 4?").unwrap(), "That is twenty-five.");
        assert_eq!(of("3 minus ten").unwrap(), "That is minus seven.");
        assert_eq!(of("six times seven please").unwrap(), "That is forty-two.");
        assert_eq!(of("7 divided by 2").unwrap(), "That is three, and one left over.");
        assert_eq!(of("one over zero").unwrap(), "Nothing can be divided by zero.");
        assert_eq!(of("9223372036854775807 times 2").unwrap(), "That is more than I can count.");
        assert_eq!(of("two plus"), None);
    }
}
