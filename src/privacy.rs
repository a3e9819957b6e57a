//! Wrappers for what must not reach a log: secrets, and what people say.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

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

/// The SHA-256 of a long random secret: enough to know it again, too little to tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// Takes over a hash that was kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash, to be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is the hash of this secret. Takes equally long whatever the answer.
    #[must_use]
    pub fn is_of(&self, secret: &Secret) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
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
    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        let hash = SecretHash::of(&Secret::new("rt_1"));
        assert!(hash.is_of(&Secret::new("rt_1")));
        assert!(!hash.is_of(&Secret::new("rt_2")));
        assert_eq!(SecretHash::from_bytes(*hash.as_bytes()), hash);
        assert_eq!(format!("{hash:?}"), "SecretHash(…)");
    }
}
