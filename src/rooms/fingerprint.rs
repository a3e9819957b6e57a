//! The fingerprints by which a peer's certificate is known (RFC 8122).

use std::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A certificate's hash, as signalled. Weaker hashes than SHA-256 are not taken for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: Hash,
    digest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Fingerprint {
    /// Reads the value of an `a=fingerprint` line; `None` for hashes we cannot or will not use.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (name, digest) = value.trim().split_once(' ')?;
        let hash = match name.to_ascii_lowercase().as_str() {
            "sha-256" => Hash::Sha256,
            "sha-384" => Hash::Sha384,
            "sha-512" => Hash::Sha512,
            _ => return None,
        };
        let bytes = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
        let digest = bytes.collect::<Result<Vec<u8>, _>>().ok()?;
        (digest.len() == hash.length()).then_some(Self { hash, digest })
    }

    /// Whether `certificate` (DER) is the one meant.
    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
        match self.hash {
            Hash::Sha256 => Sha256::digest(certificate)[..] == self.digest[..],
            Hash::Sha384 => Sha384::digest(certificate)[..] == self.digest[..],
            Hash::Sha512 => Sha512::digest(certificate)[..] == self.digest[..],
        }
    }

    /// Larger is stronger.
    pub(super) fn strength(&self) -> usize {
        self.hash.length()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.hash {
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        })?;
        for (place, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if place == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl Hash {
    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SHA-256 of nothing, by FIPS 180-4.
    const OF_NOTHING: &str = "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:\
        27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55";

    #[test]
    fn a_fingerprint_matches_its_certificate_in_either_case() {
        for value in [OF_NOTHING.to_owned(), OF_NOTHING.to_lowercase()] {
            let fingerprint = Fingerprint::read(&format!("SHA-256 {value}")).unwrap();
            assert!(fingerprint.matches(b""));
            assert!(!fingerprint.matches(b"another"));
            assert_eq!(fingerprint.to_string(), format!("sha-256 {OF_NOTHING}"));
        }
    }

    #[test]
    fn weak_and_broken_fingerprints_are_none() {
        for value in ["", "sha-1 00", "md5 00:00", "sha-256 00:00", "sha-256 zz", "sha-256"] {
            assert_eq!(Fingerprint::read(value), None, "{value}");
        }
    }
}
