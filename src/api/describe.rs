//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.

use std::sync::Arc;

use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Response,
    ResponseBuilder,
};

use super::wire::{ErrorBody, to_text};

/// The whole document, as text. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Description(Arc<str>);

impl Description {
    /// Completes what was gathered from the handlers.
    pub(super) fn of(mut described: OpenApi) -> Self {
        described.info = InfoBuilder::new()
            .title("callbridge")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()))
            .build();
        let tags =
            TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
        described.tags = Some(tags.into());
        let components = described.components.get_or_insert_default();
        add_schemas(components);
        add_security(components);
        for item in described.paths.paths.values_mut() {
            for operation in operations(item) {
                add_common_answers(operation);
            }
        }
        Self(to_text(&described).into())
    }

    /// The document as JSON.
    pub(super) fn text(&self) -> String {
        self.0.as_ref().to_owned()
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, patch, .. } = item;
    [get, put, post, delete, options, patch].into_iter().flatten()
}

/// The envelope of every refusal.
fn add_schemas(components: &mut Components) {
    components.schemas.insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    let mut used = Vec::new();
    ErrorBody::schemas(&mut used);
    components.schemas.extend(used);
}

fn add_security(components: &mut Components) {
    let bearer = |about: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        SecurityScheme::Http(scheme.description(Some(about)).build())
    };
    let key = ApiKeyValue::with_description("X-API-Key", "An API key: `ak_…`.");
    components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    let query = ApiKeyValue::with_description("apiKey", "An API key, where no header can be set.");
    components.add_security_scheme("query", SecurityScheme::ApiKey(ApiKey::Query(query)));
    components.add_security_scheme("bearer", bearer("An API key, as a bearer token."));
    components.add_security_scheme("admin", bearer("The operator's admin token."));
    components.add_security_scheme("room", bearer("The token of a room."));
}

/// What is refused before a handler is asked, or for reasons that are not its own.
fn add_common_answers(operation: &mut Operation) {
    // Where nothing at all will do as well, the handler itself says who else may.
    let asks_who = operation.security.as_ref().is_some_and(|security| {
        !security.is_empty() && !security.contains(&SecurityRequirement::default())
    });
    let has_query = operation.parameters.iter().flatten().any(
        |parameter| matches!(parameter, RefOr::T(one) if one.parameter_in == ParameterIn::Query),
    );
    let has_body = operation.request_body.is_some();
    let common: [(bool, &[(&str, &str)]); 3] =
        [(asks_who, OF_KEYS), (has_query || has_body, OF_REQUESTS), (has_body, OF_BODIES)];
    let common = common.into_iter().filter(|(applies, _)| *applies).flat_map(|(_, all)| all);
    let answers = &mut operation.responses.responses;
    for (status, about) in common {
        let answer = answers.entry((*status).to_owned()).or_insert_with(|| error_answer(""));
        if let RefOr::T(answer) = answer {
            let own = std::mem::take(&mut answer.description);
            let both = [own.as_str(), *about].map(str::trim).join(" ");
            both.trim().clone_into(&mut answer.description);
        }
    }
    for (status, answer) in answers {
        if let RefOr::T(answer) = answer {
            add_headers(status, answer);
        }
    }
}

fn error_answer(about: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
    RefOr::T(ResponseBuilder::new().description(about).content("application/json", content).build())
}

fn add_headers(status: &str, answer: &mut Response) {
    let (name, kind, about) = match status {
        "401" => ("WWW-Authenticate", Type::String, "`Bearer`."),
        "429" | "503" => ("Retry-After", Type::Integer, "Seconds until another try is worth it."),
        _ => return,
    };
    let schema = ObjectBuilder::new().schema_type(SchemaType::Type(kind));
    let header = HeaderBuilder::new().schema(Some(schema)).description(Some(about)).build();
    answer.headers.insert(name.to_owned(), header.into());
}

const OF_KEYS: &[(&str, &str)] = &[
    ("401", "`UNAUTHORIZED`: there is no valid key or token with the request."),
    ("429", "`RATE_LIMITED`: too many requests with this key, or wrong ones from this address."),
    ("500", "`INTERNAL_ERROR`: a fault of the gateway."),
    (
        "503",
        "`SERVER_SHUTDOWN`, `CAPACITY`, `STORE_UNAVAILABLE`: the gateway is going down, or full, \
        or its database is out of reach.",
    ),
];
const OF_REQUESTS: &[(&str, &str)] =
    &[("400", "`VALIDATION_ERROR`: the request has mistakes; `details` names them all.")];
const OF_BODIES: &[(&str, &str)] = &[
    ("413", "`PAYLOAD_TOO_LARGE`: the body is too large."),
    ("415", "`UNSUPPORTED_MEDIA_TYPE`: the body is not what the call takes."),
];

const ABOUT: &str = "A voice-call bridge: an AI agent joins a live call as a participant. Agents \
    are made here, over REST, and steered over Socket.IO or a WebSocket, which `docs/protocol.md` \
    describes. Every refusal has one envelope, `Error`; its `code` says why.";

const TAGS: [(&str, &str); 7] = [
    ("agents", "Agents: made, listed, read, changed, handed off, ended."),
    ("calls", "The archive: what was said in past calls, and how it went."),
    ("users", "Users and their API keys: the operator's business, and each user's own."),
    ("rooms", "Rooms that the gateway hosts: to make and end, to enter by WHIP, to watch."),
    (
        "webhooks",
        "Where owners are told what happens to their agents; `docs/protocol.md` says how.",
    ),
    ("health", "For those who run the gateway."),
    ("description", "What you read, and its like for messages."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_call_says_what_it_is() {
        let document = document();
        let tags: BTreeSet<_> = TAGS.iter().map(|(name, _)| *name).collect();
        let mut ids = BTreeSet::new();
        for (path, method, call) in calls(&document) {
            let name = format!("{method} {path}");
            assert!(call["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            let id = call["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{name}: another call has the id {id}");
            let tag = call["tags"][0].as_str().expect("a tag");
            assert!(tags.contains(tag), "{name}: no tag {tag}");
            for (status, answer) in call["responses"].as_object().expect("answers") {
                let about = answer["description"].as_str().unwrap_or_default();
                assert!(!about.is_empty(), "{name}: {status} says nothing");
                let is_refusal = answer["content"]["application/json"]["schema"]["$ref"]
                    == "#/components/schemas/Error";
                assert_eq!(is_refusal, about.starts_with('`'), "{name}: {status} names its codes");
            }
            let named = path.matches('{').count();
            let parameters = call["parameters"].as_array().into_iter().flatten();
            let described = parameters.filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(named, described, "{name}: parameters of the path");
        }
    }

    #[test]
    fn no_schema_is_an_intersection_of_a_word_and_an_object() {
        // utoipa makes one of a comment on a field whose words stand inline: the comment belongs
        // to the words' own type.
        let document = document();
        let mut all_of = Vec::new();
        gather(&document, "allOf", &mut all_of);
        let parts = all_of.into_iter().filter_map(Value::as_array).flatten();
        let words: Vec<_> = parts.filter(|part| part.get("enum").is_some()).collect();
        assert_eq!(words, Vec::<&Value>::new());
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_referred_to() {
        let document = document();
        let mut references = Vec::new();
        gather(&document, "$ref", &mut references);
        let referred: BTreeSet<_> =
            references.into_iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let there: BTreeSet<_> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(referred, there);
    }

    fn document() -> Value {
        let (_, description) = crate::api::routes();
        serde_json::from_str(&description.0).expect("JSON")
    }

    fn calls(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().expect("paths").iter();
        let calls = paths.flat_map(|(path, item)| {
            let item = item.as_object().expect("calls").iter();
            item.map(|(method, call)| (path.as_str(), method.as_str(), call))
        });
        calls.collect()
    }

    /// What stands under a key, wherever in the document.
    fn gather<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get(key));
                object.values().for_each(|value| gather(value, key, found));
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, key, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
