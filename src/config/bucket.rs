//! The bucket that recordings are brought to, if one is named.

use super::parse;
use super::reader::Reader;
use crate::privacy::Secret;

/// A bucket of an object storage that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket.
    pub name: String,
    /// The URL of the storage.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// What all names in the bucket begin with; may be empty.
    pub prefix: String,
    /// Whether the bucket is named in the path of URLs, and not in their host.
    pub path_style: bool,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Whether recordings stay in the folder as well.
    pub keep_local: bool,
}

impl BucketConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let is_named = reader.has("recordings.s3.bucket");
        let has_keys = reader.has("recordings.s3.access_key").then_some(());
        let has_keys = has_keys.filter(|()| reader.has("recordings.s3.secret_key"));
        let name = reader.take("recordings.s3.bucket", bucket);
        let endpoint = reader.take("recordings.s3.endpoint", parse::http_address);
        let region = reader.take("recordings.s3.region", parse::name);
        let prefix = reader.take("recordings.s3.prefix", prefix);
        let path_style = reader.take("recordings.s3.path_style", parse::boolean);
        let access_key = reader.take("recordings.s3.access_key", parse::word);
        let secret_key = reader.take("recordings.s3.secret_key", parse::token);
        let keep_local = reader.take("recordings.s3.keep_local", parse::boolean);
        if is_named && has_keys.is_none() {
            let what = "needs recordings.s3.access_key and recordings.s3.secret_key";
            reader.mistake("recordings.s3.bucket", what);
        }
        let region = region.unwrap_or_else(|| REGION.to_owned());
        Some(Self {
            name: name?,
            // Who names a server means one that seldom has a name for each bucket.
            path_style: path_style.unwrap_or(endpoint.is_some()),
            endpoint: endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com")),
            region,
            prefix: prefix.unwrap_or_default(),
            access_key: access_key?,
            secret_key: secret_key?,
            keep_local: keep_local.unwrap_or(false),
        })
    }
}

/// A name that stands in URLs and in host names (Amazon's "General purpose bucket naming rules").
fn bucket(text: &str) -> Result<String, String> {
    let is_fine =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_name = (3..=63).contains(&bytes.len()) && bytes.iter().copied().all(is_fine);
    if is_name && ends(bytes.first()) && ends(bytes.last()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no bucket: 3 to 63 small letters, digits, dots or hyphens"))
}

/// Names with slashes between them, none of them `.` or `..`.
fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(is_fine) && part.bytes().any(|byte| byte != b'.')
    };
    if text.is_empty() || text.split('/').all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not made of letters, digits, dots, _ and -, with slashes between"))
}

const REGION: &str = "us-east-1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_a_name_that_may_be_a_host() {
        for name in ["calls", "my-calls.2026", "abc"] {
            assert_eq!(bucket(name).as_deref(), Ok(name));
        }
        for name in ["ab", "Calls", "a/b", "-calls", "calls.", ""] {
            assert!(bucket(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_prefix_leads_nowhere_else() {
        for (text, expected) in [("", ""), ("/", ""), ("a", "a"), ("/a/b-1.x/", "a/b-1.x")] {
            assert_eq!(prefix(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["..", "a/../b", "a//b", "a b", "ä"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }
}
