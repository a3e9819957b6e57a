//! What events say of the answer they belong to.

use crate::agent::ResponseOutcome;
use crate::models::wire::{ErrorBody, Response, ResponseStatus, ServerEvent};

/// The answer an event belongs to, if it is told apart by it.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others belong to no answer")]
pub(super) fn response_of<'e>(event: &'e ServerEvent<'_>) -> Option<&'e str> {
    let id = match event {
        ServerEvent::AudioDelta(event) => &event.response_id,
        ServerEvent::AudioDone(event) => event.response_id.as_str(),
        ServerEvent::TranscriptDelta(event) | ServerEvent::TextDelta(event) => &event.response_id,
        ServerEvent::TranscriptDone(event) => &event.response_id,
        ServerEvent::TextDone(event) => &event.response_id,
        ServerEvent::OutputItemAdded(event) | ServerEvent::OutputItemDone(event) => {
            &event.response_id
        }
        ServerEvent::PartAdded(event) | ServerEvent::PartDone(event) => &event.response_id,
        ServerEvent::ArgumentsDelta(event) => &event.response_id,
        ServerEvent::ArgumentsDone(event) => &event.response_id,
        ServerEvent::ResponseDone(event) => &event.response.id,
        _ => return None,
    };
    Some(id)
}

/// How an answer has ended.
pub(super) fn outcome(response: &Response) -> ResponseOutcome {
    let details = response.status_details.as_ref();
    match response.status {
        ResponseStatus::Completed | ResponseStatus::InProgress | ResponseStatus::Other => {
            ResponseOutcome::Completed
        }
        ResponseStatus::Cancelled => ResponseOutcome::Cancelled,
        ResponseStatus::Incomplete => ResponseOutcome::Incomplete,
        ResponseStatus::Failed => {
            let error = details.and_then(|details| details.error.as_ref());
            let code = error.map_or("failed", ErrorBody::code);
            ResponseOutcome::Failed(code.to_owned())
        }
    }
}

/// The tag of our request that it answers.
pub(super) fn tag(response: &Response) -> Option<u64> {
    response.metadata.as_ref()?.get(TAG)?.parse().ok()
}

/// The key in a response's metadata under which we find our own requests again.
pub(super) const TAG: &str = "callbridge";
