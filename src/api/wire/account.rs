//! Users and API keys, as the operator and their owners see them.

use serde::Serialize;
use serde_json::Value;

use super::fields::{BadBody, Fields, one_mistake};

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
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct UserBody {
    pub(in crate::api) id: String,
    pub(in crate::api) email: String,
    pub(in crate::api) name: Option<String>,
    pub(in crate::api) created_at: String,
    /// Left out in the answer to making a user, who has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) api_keys: Option<Vec<KeyBody>>,
}

/// A key, without its text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyBody {
    pub(in crate::api) id: String,
    pub(in crate::api) key_preview: String,
    pub(in crate::api) name: Option<String>,
    pub(in crate::api) last_used_at: Option<String>,
    pub(in crate::api) expires_at: Option<String>,
    pub(in crate::api) created_at: String,
}

/// A new key, with its text for the one time that it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct IssuedKeyBody {
    pub(in crate::api) id: String,
    pub(in crate::api) key: String,
    pub(in crate::api) key_preview: String,
    pub(in crate::api) name: Option<String>,
    pub(in crate::api) created_at: String,
    pub(in crate::api) expires_at: Option<String>,
}

impl NewUserBody {
    /// Reads the body of `POST /api/users`.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read(bytes, |fields| {
            let email = fields.required_text("email", 3..=EMAIL_MAX);
            let has_two_sides = email
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            if !email.is_empty() && (!has_two_sides || email.contains(char::is_whitespace)) {
                fields.mistake("email", "must be an email address");
            }
            Self { email, name: fields.text("name", 1..=NAME_MAX) }
        })
    }
}

impl NewKeyBody {
    /// Reads the body of `POST /api/users/:id/api-keys`, which may be empty.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        read(bytes, |fields| {
            let name = fields.text("name", 1..=NAME_MAX);
            let expires_at = fields.text("expiresAt", 1..=NAME_MAX);
            let expires_at_ms = expires_at.and_then(|text| {
                let instant = text.parse::<jiff::Timestamp>().ok();
                let ms = instant.and_then(|instant| u64::try_from(instant.as_millisecond()).ok());
                if ms.is_none() {
                    fields.mistake("expiresAt", "must be a time like 2030-01-31T12:00:00Z");
                }
                ms
            });
            Self { name, expires_at_ms }
        })
    }
}

fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Fields<'_>) -> T) -> Result<T, BadBody> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| BadBody::NotJson(error.to_string()))?;
    let Some(object) = value.as_object() else {
        return Err(one_mistake("", "the body must be a JSON object"));
    };
    let mut mistakes = Vec::new();
    let body = read(&mut Fields::new(object, &mut mistakes));
    if mistakes.is_empty() { Ok(body) } else { Err(BadBody::Mistakes(mistakes)) }
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
        assert_eq!(NewKeyBody::parse(b""), Ok(NewKeyBody::default()));
        let dated = NewKeyBody::parse(br#"{"expiresAt":"1970-01-01T00:00:01.500Z"}"#);
        assert_eq!(dated.expect("in order").expires_at_ms, Some(1_500));
        assert!(NewKeyBody::parse(br#"{"expiresAt":"tomorrow"}"#).is_err());
    }
}
