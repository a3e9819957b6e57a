//! What an error of the server means for the session.

use crate::models::wire::ErrorBody;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Two that were right crossed on the wire: nothing.
    Benign,
    /// Our request for an answer was refused, because the server is at one.
    Answering,
    /// Our request to break off was refused, because there was nothing to break off.
    NothingToCancel,
    /// No session is of any use.
    Fatal,
    /// This session is over; another may be opened.
    Expired,
    /// The server is in trouble. Said twice, this session is of no use any more.
    Failing,
    /// Worth telling; the session goes on.
    Survivable,
}

/// Sorts an error by its code. Servers promise that most errors leave the session open.
pub(super) fn severity(error: &ErrorBody) -> Severity {
    match error.code() {
        "conversation_already_has_active_response" => Severity::Answering,
        "response_cancel_not_active" => Severity::NothingToCancel,
        "input_audio_buffer_commit_empty"
        | "item_truncate_invalid_item_id"
        | "item_delete_invalid_item_id" => Severity::Benign,
        "session_expired" | "max_duration" => Severity::Expired,
        "server_error" => Severity::Failing,
        code if is_fatal(code) => Severity::Fatal,
        _ if is_about_a_cut(error) => Severity::Benign,
        _ => Severity::Survivable,
    }
}

/// Whether a session, or an answer, that ended with this code leaves nothing to hope for.
pub(super) fn is_fatal(code: &str) -> bool {
    matches!(
        code,
        "insufficient_quota"
            | "invalid_api_key"
            | "account_deactivated"
            | "billing_hard_limit_reached"
            | "invalid_model"
            | "beta_api_shape_disabled"
    )
}

/// Whether an answer that failed with this code may be had in a moment.
pub(super) fn is_passing(code: &str) -> bool {
    matches!(code, "rate_limit_exceeded" | "inference_rate_limit_exceeded" | "server_error")
}

/// Whether a socket that was closed with this code may be opened again: the server goes away,
/// has failed, is overloaded, or said nothing at all (RFC 6455, section 7.4.1).
pub(super) const fn may_reopen(code: u16) -> bool {
    matches!(code, 1001 | 1005 | 1006 | 1011 | 1012 | 1013 | 1014)
}

/// A cut that came too late, or that named sound the server does not have.
fn is_about_a_cut(error: &ErrorBody) -> bool {
    let ours = error.event_id.as_deref().is_some_and(|id| id.starts_with(CUT_PREFIX));
    ours || error.message.contains("already shorter than")
        || error.message.contains("Only model output audio messages can be truncated")
}

/// How the event ids of our cuts begin, so that a refusal can be told by its `event_id`.
pub(super) const CUT_PREFIX: &str = "cut_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_they_mean() {
        let sorted = [
            ("conversation_already_has_active_response", "", Severity::Answering),
            ("response_cancel_not_active", "", Severity::NothingToCancel),
            ("input_audio_buffer_commit_empty", "", Severity::Benign),
            (
                "invalid_value",
                "Audio content of 90ms is already shorter than 120ms",
                Severity::Benign,
            ),
            ("invalid_value", "tools[0]: no such thing", Severity::Survivable),
            ("session_expired", "Your session hit the limit of 60 minutes.", Severity::Expired),
            ("server_error", "We are sorry.", Severity::Failing),
            ("invalid_api_key", "", Severity::Fatal),
            ("something_new", "", Severity::Survivable),
        ];
        for (code, message, expected) in sorted {
            assert_eq!(severity(&error(code, message)), expected, "{code}: {message}");
        }
    }

    #[test]
    fn an_error_that_names_a_cut_of_ours_is_benign() {
        let refused = ErrorBody { event_id: Some("cut_7".into()), ..error("whatever", "") };
        assert_eq!(severity(&refused), Severity::Benign);
    }

    fn error(code: &str, message: &str) -> ErrorBody {
        ErrorBody { code: Some(code.into()), message: message.into(), ..ErrorBody::default() }
    }
}
