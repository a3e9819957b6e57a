//! Wrappers for what must not reach a log: secrets, and what people say.

use std::fmt;

/// A key, token or password. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret as soon as it is read.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Something a person said or wrote; its `Debug` and `Display` show only how long it is.
///
/// The words themselves may be logged at DEBUG and below, by asking for [`Pii::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Wraps what a person said.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The words themselves.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<str>> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} characters)", self.0.as_ref().chars().count())
    }
}

impl<T: AsRef<str>> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wrapped_is_printed() {
        let printed = format!("{:?} {} {:?}", Secret::new("ak_1"), Pii::new("hello"), Pii::new(""));
        assert_eq!(printed, "Secret(…) (5 characters) (0 characters)");
    }
}
