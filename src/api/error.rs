//! The one envelope of every error that HTTP answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::limits::TooMany;
use super::wire::{BadBody, ErrorBody, Mistake};
use crate::agent::{Rejection, RoomFailure};
use crate::ids::AgentId;
use crate::runtime::{
    CallError, CreateError, CreateRoomError, CreateWebhookError, EnterError, FindError,
    FindRoomError, FindWebhookError, HandOffError, ListError, StoreFailure, UpdateError,
};

/// A refusal, with all that its envelope holds.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<Mistake>,
    /// The agent that is in the way.
    agent: Option<AgentId>,
    /// Seconds after which it is worth another try.
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let retry_after =
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS);
        let (message, details) = (message.into(), Vec::new());
        Self { status, code, message, details, agent: None, retry_after }
    }

    /// 400 for one field.
    pub(super) fn invalid(path: &str, message: &str) -> Self {
        let mistake = Mistake { path: path.to_owned(), message: message.to_owned() };
        BadBody::Mistakes(vec![mistake]).into()
    }

    pub(super) fn unauthorized() -> Self {
        let message = "a valid API key is needed, as X-API-Key or Authorization: Bearer";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(super) fn unsupported_media_type(wanted: &str) -> Self {
        let message = format!("the content type must be {wanted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    /// The store's words are for the log: clients can do nothing with them.
    pub(super) fn store(error: &StoreFailure) -> Self {
        tracing::error!(%error, "a request failed in the store");
        if error.is_passing {
            let message = "the database cannot be reached, or is too busy";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE", message);
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "the store failed")
    }
}

impl From<BadBody> for ApiError {
    fn from(bad: BadBody) -> Self {
        let (message, details) = match bad {
            BadBody::NotJson(reason) => {
                let message = format!("the body is no JSON: {reason}");
                (message, vec![Mistake { path: String::new(), message: reason }])
            }
            BadBody::Mistakes(mistakes) => ("the request has mistakes".to_owned(), mistakes),
        };
        Self { details, ..Self::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message) }
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        let message = error.to_string();
        match error {
            CreateError::Duplicate(agent) => Self {
                agent: Some(agent),
                ..Self::new(StatusCode::CONFLICT, "DUPLICATE_SESSION", message)
            },
            CreateError::Capacity => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "CAPACITY", message)
            }
            CreateError::Draining => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "SERVER_SHUTDOWN", message)
            }
            CreateError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<FindError> for ApiError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NotFound | FindError::Expired => {
                Self::new(StatusCode::NOT_FOUND, "AGENT_NOT_FOUND", "there is no such agent")
            }
            FindError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Find(error) => error.into(),
            UpdateError::Rejected(rejection) => rejection.into(),
            UpdateError::Duplicate(agent) => CreateError::Duplicate(agent).into(),
            UpdateError::Draining => CreateError::Draining.into(),
            UpdateError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<HandOffError> for ApiError {
    fn from(error: HandOffError) -> Self {
        let message = error.to_string();
        match error {
            HandOffError::Find(error) => error.into(),
            HandOffError::NoHeir => Self::new(StatusCode::NOT_FOUND, "AGENT_NOT_FOUND", message),
            HandOffError::Itself => Self::invalid("to", &message),
            HandOffError::ServesAnother(agent) => Self {
                agent: Some(agent),
                ..Self::new(StatusCode::CONFLICT, "DUPLICATE_SESSION", message)
            },
            HandOffError::Rejected(rejection) => rejection.into(),
            HandOffError::HeirRejected(rejection) => {
                Self::new(StatusCode::CONFLICT, rejection.code(), message)
            }
            HandOffError::Create(error) => error.into(),
            HandOffError::Broken => Self::new(StatusCode::CONFLICT, "INVALID_STATE", message),
        }
    }
}

/// What an agent has refused can be asked for again when its state is another.
impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::new(StatusCode::CONFLICT, rejection.code(), rejection.to_string())
    }
}

impl From<TooMany> for ApiError {
    fn from(too_many: TooMany) -> Self {
        Self {
            retry_after: Some(too_many.seconds()),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, TooMany::CODE, too_many.to_string())
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotFound => Self::not_found(&error.to_string()),
            CallError::Store(reason) => Self::store(&reason),
            CallError::Files(error) => {
                tracing::error!(%error, "a request failed where recordings lie");
                let message = "the recordings cannot be reached";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
            }
        }
    }
}

impl From<ListError> for ApiError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::BadCursor => Self::invalid("cursor", &error.to_string()),
            ListError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<CreateRoomError> for ApiError {
    fn from(error: CreateRoomError) -> Self {
        let message = error.to_string();
        match error {
            CreateRoomError::Exists => Self::new(StatusCode::CONFLICT, "ROOM_EXISTS", message),
            CreateRoomError::Capacity => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "CAPACITY", message)
            }
            CreateRoomError::Draining => CreateError::Draining.into(),
            CreateRoomError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<CreateWebhookError> for ApiError {
    fn from(error: CreateWebhookError) -> Self {
        let message = error.to_string();
        match error {
            CreateWebhookError::Private => Self::invalid("url", &message),
            CreateWebhookError::Full => Self::new(StatusCode::CONFLICT, "WEBHOOK_LIMIT", message),
            CreateWebhookError::Draining => CreateError::Draining.into(),
            CreateWebhookError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<FindWebhookError> for ApiError {
    fn from(error: FindWebhookError) -> Self {
        match error {
            FindWebhookError::NotFound => Self::not_found(&error.to_string()),
            FindWebhookError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<FindRoomError> for ApiError {
    fn from(error: FindRoomError) -> Self {
        match error {
            FindRoomError::NotFound => RoomFailure::NotFound.into(),
            FindRoomError::Store(reason) => Self::store(&reason),
        }
    }
}

impl From<EnterError> for ApiError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Room(failure) => failure.into(),
            EnterError::Refused(refusal) => Self {
                retry_after: Some(refusal.retry_after_seconds()),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "CAPACITY", refusal.to_string())
            },
        }
    }
}

impl From<RoomFailure> for ApiError {
    fn from(failure: RoomFailure) -> Self {
        let status = match failure {
            RoomFailure::Unsupported(_) | RoomFailure::Media(_) => StatusCode::BAD_REQUEST,
            RoomFailure::NotFound | RoomFailure::Closed(_) => StatusCode::NOT_FOUND,
            RoomFailure::Unauthorized => StatusCode::UNAUTHORIZED,
            RoomFailure::Unreachable(_) | RoomFailure::Full => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, failure.code(), failure.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.status.canonical_reason().unwrap_or("Error"),
            message: &self.message,
            status_code: self.status.as_u16(),
            code: self.code,
            agent_id: self.agent.as_ref().map(AgentId::as_str),
            details: &self.details,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What is full or going down is worth another try after this many seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_duplicate_names_the_first_agent() {
        let error = ApiError::from(CreateError::Duplicate(AgentId::new("ag_1")));
        let (status, _, body) = answered(error).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(
            body,
            concat!(
                r#"{"error":"Conflict","message":"agent ag_1 serves this user already","#,
                r#""statusCode":409,"code":"DUPLICATE_SESSION","agentId":"ag_1"}"#
            )
        );
    }

    #[tokio::test]
    async fn an_expired_agent_is_not_found_over_rest() {
        let expired = answered(ApiError::from(FindError::Expired)).await;
        let unknown = answered(ApiError::from(FindError::NotFound)).await;
        assert_eq!(expired.0, StatusCode::NOT_FOUND);
        assert_eq!(expired.2, unknown.2);
    }

    #[tokio::test]
    async fn what_is_full_says_when_to_try_again() {
        for error in [CreateError::Capacity.into(), ApiError::from(RoomFailure::Full)] {
            let (status, headers, _) = answered(error).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(headers.contains_key(header::RETRY_AFTER));
        }
    }

    #[tokio::test]
    async fn the_stores_words_stay_inside() {
        for (is_passing, expected, code) in
            [(false, 500, "INTERNAL_ERROR"), (true, 503, "STORE_UNAVAILABLE")]
        {
            let failure = StoreFailure { words: "disk /var/x is full".to_owned(), is_passing };
            let (status, headers, body) = answered(CreateError::Store(failure).into()).await;
            assert_eq!(status.as_u16(), expected);
            assert_eq!(headers.contains_key(header::RETRY_AFTER), is_passing);
            assert!(body.contains(code) && !body.contains("/var/x"), "{body}");
        }
    }

    #[tokio::test]
    async fn mistakes_are_listed_one_by_one() {
        let (status, _, body) = answered(ApiError::invalid("name", "is required")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body.contains(r#""details":[{"path":"name","message":"is required"}]"#), "{body}");
    }

    #[tokio::test]
    async fn every_end_of_a_handoff_has_its_status() {
        let heir = AgentId::new("ag_2");
        let busy = Rejection::InvalidState { phase: "created" };
        for (error, status, code) in [
            (FindError::NotFound.into(), 404, "AGENT_NOT_FOUND"),
            (HandOffError::NoHeir, 404, "AGENT_NOT_FOUND"),
            (HandOffError::Itself, 400, "VALIDATION_ERROR"),
            (HandOffError::ServesAnother(heir), 409, "DUPLICATE_SESSION"),
            (busy.into(), 409, "INVALID_STATE"),
            (CreateError::Capacity.into(), 503, "CAPACITY"),
            (HandOffError::Broken, 409, "INVALID_STATE"),
        ] {
            let told = format!("{error:?}");
            let (answered, _, body) = answered(error.into()).await;
            assert_eq!(answered.as_u16(), status, "{told}");
            assert!(body.contains(&format!(r#""code":"{code}""#)), "{told}: {body}");
            assert_eq!(body.contains(r#""agentId":"ag_2""#), told.contains("ag_2"), "{body}");
        }
    }

    #[tokio::test]
    async fn what_an_agent_at_work_refuses_is_a_conflict() {
        let (status, _, body) = answered(UpdateError::from(Rejection::AgentBusy).into()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(body.contains(r#""code":"AGENT_BUSY""#), "{body}");
    }

    async fn answered(error: ApiError) -> (StatusCode, axum::http::HeaderMap, String) {
        let (parts, body) = error.into_response().into_parts();
        let bytes = to_bytes(body, 10_000).await.expect("a body");
        (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
    }
}
