//! PURE. Time and date in words a voice says well.

use jiff::civil::{DateTime, Weekday};

use super::numbers::{ordinal, spelt};

/// What time it is.
pub(super) fn time(now: DateTime) -> String {
    let hour = match now.hour() % 12 {
        0 => spelt(12),
        hour => spelt(i64::from(hour)),
    };
    let part = match now.hour() {
        0..12 => "in the morning",
        12..18 => "in the afternoon",
        _ => "in the evening",
    };
    match now.minute() {
        0 => format!("It is now {hour} o'clock {part}."),
        1 => format!("It is now one minute past {hour} {part}."),
        minute => format!("It is now {} minutes past {hour} {part}.", spelt(i64::from(minute))),
    }
}

/// What day it is.
pub(super) fn date(now: DateTime) -> String {
    let weekday = match now.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    };
    let month = usize::from(now.month().unsigned_abs()).clamp(1, 12) - 1;
    format!("Today is {weekday}, the {} of {}.", ordinal(now.day()), MONTHS[month])
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_said_in_words() {
        let at = |hour, minute| time(jiff::civil::date(2026, 11, 22).at(hour, minute, 0, 0));
        assert_eq!(at(0, 0), "It is now twelve o'clock in the morning.");
        assert_eq!(at(9, 1), "It is now one minute past nine in the morning.");
        assert_eq!(at(15, 42), "It is now forty-two minutes past three in the afternoon.");
        assert_eq!(at(18, 30), "It is now thirty minutes past six in the evening.");
    }

    #[test]
    fn the_date_is_said_in_words() {
        let now = jiff::civil::date(2026, 11, 22).at(9, 0, 0, 0);
        assert_eq!(date(now), "Today is Sunday, the twenty-second of November.");
    }
}
