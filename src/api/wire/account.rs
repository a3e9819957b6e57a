//! Users and API keys, as the operator and their owners see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{BadBody, is_empty_body, read_body};

/// A wish for a new user, found to be in order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct NewUserBody {
    pub(in crate::api) email: String,
    pub(in crate::api) name: Option<String>,
}

/// A wish for a new key, found to be in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct NewKeyBody {
    pub(in crate::api) name: Option<String>,
    pub(in crate::api) expires_at_ms: Option<u64>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(in crate::api) struct UserBody {
    #[schema(example = "usr_2m4c3e1cw6tfpqesaqfxa963t1")]
    pub(in crate::api) id: String,
    #[schema(example = "ann@example.com")]
    pub(in crate::api) email: String,
    #[schema(required = true)]
    pub(in crate::api) name: Option<String>,
    #[schema(format = DateTime)]
    pub(in crate::api) created_at: String,
    /// Left out in the answer to making a user, who has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::api) api_keys: Option<Vec<KeyBody>>,
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(in crate::api) struct KeyBody {
    pub(in crate::api) id: String,
    /// The end of the key.
    #[schema(example = "...st1v")]
    pub(in crate::api) key_preview: String,
    #[schema(required = true)]
    pub(in crate::api) name: Option<String>,
    #[schema(required = true, format = DateTime)]
    pub(in crate::api) last_used_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    pub(in crate::api) expires_at: Option<String>,
    #[schema(format = DateTime)]
    pub(in crate::api) created_at: String,
}

/// A new key, with its text for the one time that it is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssuedKey)]
pub(in crate::api) struct IssuedKeyBody {
    pub(in crate::api) id: String,
    /// The key itself. It is kept as a hash, and cannot be told again.
    #[schema(pattern = "^ak_")]
    pub(in crate::api) key: String,
    /// The end of the key.
    pub(in crate::api) key_preview: String,
    #[schema(required = true)]
    pub(in crate::api) name: Option<String>,
    #[schema(format = DateTime)]
    pub(in crate::api) created_at: String,
    #[schema(required = true, format = DateTime)]
    pub(in crate::api) expires_at: Option<String>,
}

impl NewUserBody {
    /// Reads the body of `POST /api/users`.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read_body(bytes, |fields| {
            let email = fields.required_text("email", 3..=EMAIL_MAX);
            let has_two_sides = email
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            if !email.is_empty() && (!has_two_sides || email.contains(is_no_sign)) {
                fields.mistake("email", "must be an email address");
            }
            Self { email, name: fields.text("name", 1..=NAME_MAX) }
        })
    }
}

impl NewKeyBody {
    /// Reads the body of `POST /api/users/:id/api-keys`, which may be empty.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        if is_empty_body(bytes) {
            return Ok(Self::default());
        }
        read_body(bytes, |fields| {
            let name = fields.text("name", 1..=NAME_MAX);
            let expires_at = fields.text("expiresAt", 1..=NAME_MAX);
            let expires_at_ms = expires_at.and_then(|text| {
                let instant = text.parse::<jiff::Timestamp>().ok();
                // What lies before 1970 is as past as 1970 itself.
                let ms = instant.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
                if ms.is_none() {
                    fields.mistake("expiresAt", "must be a time like 2030-01-31T12:00:00Z");
                }
                ms
            });
            Self { name, expires_at_ms }
        })
    }
}

fn is_no_sign(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

const EMAIL_MAX: usize = 254;
const NAME_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_has_two_sides() {
        let read = NewUserBody::parse(br#"{"email":"ann@example.com","name":"Ann"}"#);
        assert_eq!(read.expect("in order").name.as_deref(), Some("Ann"));
        for text in [r#"{"email":"ann"}"#, r#"{"email":"a @b"}"#, r#"{"email":"@b.c"}"#, "{}", "[]"]
        {
            let refused = NewUserBody::parse(text.as_bytes());
            assert!(matches!(refused, Err(BadBody::Mistakes(_))), "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_key_may_be_asked_for_with_nothing() {
        for nothing in [&b""[..], b" null\n", b"{}"] {
            assert_eq!(NewKeyBody::parse(nothing), Ok(NewKeyBody::default()));
        }
        let dated = NewKeyBody::parse(br#"{"expiresAt":"1970-01-01T00:00:01.500Z"}"#);
        assert_eq!(dated.expect("in order").expires_at_ms, Some(1_500));
        let past = NewKeyBody::parse(br#"{"expiresAt":"0696-02-29T09:04:54.6+17:42"}"#);
        assert_eq!(past.expect("in order").expires_at_ms, Some(0));
        assert!(NewKeyBody::parse(br#"{"expiresAt":"tomorrow"}"#).is_err());
    }
}
