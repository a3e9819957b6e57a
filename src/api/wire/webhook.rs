//! Webhooks, as their owners make and see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{BadBody, Fields, read_body};
use super::words::WebhookEventWord;
use crate::runtime::{WebhookEvent, WebhookUrl};

/// A wish for a new webhook, found to be in order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct NewWebhookBody {
    /// It is there: a body without one has a mistake.
    pub(in crate::api) url: Option<WebhookUrl>,
    pub(in crate::api) events: Vec<WebhookEvent>,
    pub(in crate::api) description: Option<String>,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(in crate::api) struct WebhookBody {
    #[schema(example = "wh_2m4c3e1cw6tfpqesaqfxa963t1")]
    pub(in crate::api) id: String,
    /// Where deliveries go.
    pub(in crate::api) url: String,
    #[schema(value_type = Vec<WebhookEventWord>)]
    pub(in crate::api) events: Vec<String>,
    #[schema(required = true)]
    pub(in crate::api) description: Option<String>,
    #[schema(format = DateTime)]
    pub(in crate::api) created_at: String,
}

/// A new webhook, with its secret for the one time that it is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IssuedWebhook)]
pub(in crate::api) struct IssuedWebhookBody {
    #[serde(flatten)]
    pub(in crate::api) webhook: WebhookBody,
    /// What every delivery is signed with.
    #[schema(pattern = "^whsec_[0-9a-f]{64}$")]
    pub(in crate::api) secret: String,
}

/// All webhooks of an owner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(in crate::api) struct WebhooksBody {
    /// Oldest first.
    #[schema(max_items = 10)]
    pub(in crate::api) webhooks: Vec<WebhookBody>,
}

impl NewWebhookBody {
    /// Reads the body of `POST /api/webhooks`; tells all its mistakes at once.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read_body(bytes, |fields| Self {
            url: read_url(fields),
            events: read_events(fields).unwrap_or_else(|| WebhookEvent::ALL.to_vec()),
            description: fields.text("description", 0..=DESCRIPTION_MAX),
        })
    }
}

fn read_url(fields: &mut Fields<'_>) -> Option<WebhookUrl> {
    let text = fields.required_text("url", 1..=URL_MAX);
    let url = WebhookUrl::parse(&text);
    if url.is_none() && !text.is_empty() {
        fields.mistake("url", "must be an http or https URL without a user");
    }
    url
}

/// What is wanted, each once; `None` if that is not said.
fn read_events(fields: &mut Fields<'_>) -> Option<Vec<WebhookEvent>> {
    let value = fields.get("events")?;
    let named = value.as_array().filter(|list| (1..=WebhookEvent::ALL.len()).contains(&list.len()));
    let named = named.and_then(|list| {
        let event = |value: &serde_json::Value| WebhookEvent::parse(value.as_str()?);
        list.iter().map(event).collect::<Option<Vec<_>>>()
    });
    if named.is_none() {
        let names = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
        fields.mistake("events", format!("must be an array of 1 to 4 of: {names}"));
    }
    let named = named?;
    Some(WebhookEvent::ALL.into_iter().filter(|event| named.contains(event)).collect())
}

const URL_MAX: usize = 2_048;
const DESCRIPTION_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_told_everything_unless_it_says_what() {
        let read = |text: &str| NewWebhookBody::parse(text.as_bytes()).expect("in order");
        let body = read(r#"{"url":"https://example.com/hook"}"#);
        assert_eq!(body.events, WebhookEvent::ALL);
        assert_eq!(body.url, WebhookUrl::parse("https://example.com/hook"));
        let text = r#"{"url":"http://x","events":["call.ended","call.started","call.ended"]}"#;
        assert_eq!(read(text).events, [WebhookEvent::CallStarted, WebhookEvent::CallEnded]);
    }

    #[test]
    fn every_mistake_is_told() {
        for (text, paths) in [
            (
                r#"{"url":"ftp://x","events":[],"description":1}"#,
                &["url", "events", "description"][..],
            ),
            (r#"{"url":"http://x","events":["call.begun"]}"#, &["events"]),
            (r#"{"url":"http://x","events":"call.ended"}"#, &["events"]),
            (r#"{"url":""}"#, &["url"]),
            ("{}", &["url"]),
        ] {
            let Err(BadBody::Mistakes(mistakes)) = NewWebhookBody::parse(text.as_bytes()) else {
                panic!("{text}")
            };
            let told: Vec<_> = mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
            assert_eq!(told, paths, "{text}");
        }
    }
}
