//! Tool calls that wait for a client, each with a deadline; each is resolved exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Outputs;
use super::command::{Deadline, Rejection, ToolResult};
use super::output::{Notification, Output, ToolCancel};
use super::record::ToolOutcome;
use super::spec::ToolSpec;
use crate::ids::ToolCallId;
use crate::privacy::Pii;

/// The open tool calls, and whether the model is owed a word when the last one is closed.
#[derive(Debug, Default)]
pub(super) struct Tools {
    open: BTreeMap<ToolCallId, OpenCall>,
    answer_owed: bool,
    /// Whether it was said that the open ones are waited for.
    filler_said: bool,
    /// Calls that we have cancelled: a client may still say that it has heard of it.
    cancelled: VecDeque<ToolCallId>,
}

#[derive(Debug)]
struct OpenCall {
    request: Request,
    asked: Instant,
    deadline: Instant,
    notification: Notification,
    /// What is said while it is waited for.
    filler: Option<String>,
}

/// What the model asks for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: ToolCallId,
    pub(super) name: String,
    pub(super) arguments_json: String,
    /// The model session that asks, by its number.
    pub(super) session: u32,
}

/// A tool call that is over.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) request: Request,
    pub(super) outcome: ToolOutcome,
    /// What the model is to read.
    pub(super) output: Pii<String>,
    pub(super) asked: Instant,
}

impl Tools {
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Passes a call on to the clients; a tool that nobody declared fails at once. A call that is
    /// open already is the same call, told again by a model that has lost count.
    pub(super) fn on_call(
        &mut self,
        request: Request,
        declared: &[ToolSpec],
        now: Instant,
        outputs: &mut Outputs,
    ) -> Option<Resolved> {
        if self.open.contains_key(&request.id) {
            return None;
        }
        let Some(tool) = declared.iter().find(|tool| tool.name == request.name) else {
            self.answer_owed = true;
            let output = failure_json("there is no such tool");
            return Some(Resolved { request, outcome: ToolOutcome::Failed, output, asked: now });
        };
        let notification = Notification::ToolCall {
            id: request.id.clone(),
            name: request.name.clone(),
            arguments_json: request.arguments_json.clone(),
            timeout_seconds: tool.timeout.as_secs(),
        };
        outputs.push_back(Output::Notify(notification.clone()));
        let deadline = now + tool.timeout.max(TIMEOUT_MIN);
        self.filler_said &= !self.open.is_empty();
        let (id, filler) = (request.id.clone(), tool.filler.clone());
        let call = OpenCall { request, asked: now, deadline, notification, filler };
        self.open.insert(id, call);
        None
    }

    /// Takes the first result of an open call.
    ///
    /// A client that only confirms our own cancelling is heard, and changes nothing.
    pub(super) fn on_result(&mut self, result: ToolResult) -> Result<Option<Resolved>, Rejection> {
        let Some(OpenCall { request, asked, .. }) = self.open.remove(&result.id) else {
            return self.on_confirmed(result).map(|()| None);
        };
        self.answer_owed |= result.respond;
        let (outcome, output) = match result.outcome {
            Ok(value) => (ToolOutcome::Completed, value),
            Err(reason) => (ToolOutcome::Failed, failure_json(reason.expose())),
        };
        Ok(Some(Resolved { request, outcome, output, asked }))
    }

    fn on_confirmed(&mut self, result: ToolResult) -> Result<(), Rejection> {
        let known = self.cancelled.iter().position(|id| *id == result.id);
        match known.filter(|_| result.canceled) {
            Some(at) => {
                self.cancelled.remove(at);
                Ok(())
            }
            None => Err(Rejection::UnknownToolCall { id: result.id }),
        }
    }

    /// Fails every call whose time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs) -> Vec<Resolved> {
        let late = self.open.extract_if(.., |_, call| call.deadline <= now);
        let late: Vec<OpenCall> = late.map(|(_, call)| call).collect();
        self.answer_owed |= !late.is_empty();
        late.into_iter().map(|call| self.cancel(call, ToolCancel::Timeout, outputs)).collect()
    }

    /// Fails every open call. The model need not answer to it.
    pub(super) fn cancel_all(
        &mut self,
        reason: ToolCancel,
        outputs: &mut Outputs,
    ) -> Vec<Resolved> {
        self.answer_owed = false;
        let open = std::mem::take(&mut self.open);
        open.into_values().map(|call| self.cancel(call, reason, outputs)).collect()
    }

    fn cancel(&mut self, call: OpenCall, reason: ToolCancel, outputs: &mut Outputs) -> Resolved {
        let OpenCall { request, asked, .. } = call;
        let id = request.id.clone();
        outputs.push_back(Output::Notify(Notification::CancelToolCall { id: id.clone(), reason }));
        if self.cancelled.len() == CANCELLED_KEPT {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(id);
        let (outcome, why) = match reason {
            ToolCancel::Timeout => (ToolOutcome::Timeout, "the tool did not answer in time"),
            ToolCancel::Interrupted => (ToolOutcome::Interrupted, "the tool was interrupted"),
            ToolCancel::Ended => (ToolOutcome::Ended, "the call has ended"),
        };
        Resolved { request, outcome, output: failure_json(why), asked }
    }

    /// Whether the model should speak to its results: once, after the last of them.
    pub(super) fn take_owed_answer(&mut self) -> bool {
        self.open.is_empty() && std::mem::take(&mut self.answer_owed)
    }

    /// What to say while the open calls are waited for, if that was not said before.
    pub(super) fn filler(&self) -> Option<&String> {
        let open = self.open.values().filter(|_| !self.filler_said);
        let first = open.filter(|call| call.filler.is_some()).min_by_key(|call| call.asked);
        first.and_then(|call| call.filler.as_ref())
    }

    /// What to say while the open calls are waited for: once, however many follow them.
    pub(super) fn take_filler(&mut self) -> Option<String> {
        let filler = self.filler().cloned();
        self.filler_said |= filler.is_some();
        filler
    }

    /// The open calls as they were told, for a client that has come back.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = &Notification> {
        self.open.values().map(|call| &call.notification)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.open.values().map(|call| (call.deadline, "tool call")).min()
    }
}

/// A failed result, as the model reads it. `{:?}` of a plain sentence is a JSON string as well.
fn failure_json(reason: &str) -> Pii<String> {
    let plain: String = reason.chars().filter(|c| !c.is_control()).collect();
    let quoted = plain.replace('\\', "\\\\").replace('"', "\\\"");
    Pii::new(format!("{{\"error\":\"{quoted}\"}}"))
}

/// A tool that may take no time at all could never answer.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// How many cancelled calls are remembered: a client confirms within moments, if at all.
const CANCELLED_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn the_first_result_wins_and_the_second_is_refused() {
        let (mut tools, mut outputs, _) = with_one_call();
        let first = tools.on_result(result("tc_1")).unwrap().unwrap();
        assert_eq!((first.outcome, first.output.expose().as_str()), (ToolOutcome::Completed, "1"));
        let refused = tools.on_result(result("tc_1")).unwrap_err();
        assert_eq!(refused, Rejection::UnknownToolCall { id: ToolCallId::new("tc_1") });
        assert!(outputs.pop_front().is_some(), "the call itself was told");
        assert!(tools.take_owed_answer());
        assert!(!tools.take_owed_answer(), "an answer is owed once");
    }

    #[test]
    fn a_call_nobody_answers_fails_at_its_deadline() {
        let (mut tools, mut outputs, now) = with_one_call();
        assert_eq!(tools.poll_timeout(), Some((now + Duration::from_secs(5), "tool call")));
        assert!(tools.handle_timeout(now + Duration::from_secs(4), &mut outputs).is_empty());
        assert!(!tools.is_idle());
        outputs.clear();
        let late = tools.handle_timeout(now + Duration::from_secs(5), &mut outputs);
        let id = ToolCallId::new("tc_1");
        let told = Notification::CancelToolCall { id: id.clone(), reason: ToolCancel::Timeout };
        assert_eq!(outputs, [Output::Notify(told)]);
        assert_eq!(late[0].output.expose(), r#"{"error":"the tool did not answer in time"}"#);
        assert!(tools.take_owed_answer());
    }

    #[test]
    fn a_client_may_confirm_once_that_it_has_canceled() {
        let (mut tools, mut outputs, _) = with_one_call();
        tools.cancel_all(ToolCancel::Interrupted, &mut outputs);
        let confirmed = || ToolResult { canceled: true, ..result("tc_1") };
        assert!(tools.on_result(result("tc_1")).is_err(), "a late success is refused");
        assert!(tools.on_result(confirmed()).unwrap().is_none());
        assert!(tools.on_result(confirmed()).is_err(), "and so is a second word");
        assert!(!tools.take_owed_answer());
    }

    #[test]
    fn a_tool_nobody_declared_fails_at_once() {
        let mut tools = Tools::default();
        let mut outputs = Outputs::new();
        let failed = tools.on_call(request("tc_1"), &[], clock::now(), &mut outputs).unwrap();
        assert!(tools.is_idle() && tools.take_owed_answer());
        assert_eq!((failed.outcome, outputs.len()), (ToolOutcome::Failed, 0));
    }

    #[test]
    fn a_call_that_is_open_is_not_told_again() {
        let (mut tools, mut outputs, now) = with_one_call();
        outputs.clear();
        assert!(tools.on_call(request("tc_1"), &[], now, &mut outputs).is_none());
        assert!(outputs.is_empty());
        assert!(tools.on_result(result("tc_1")).is_ok());
    }

    #[test]
    fn a_reason_with_quotes_stays_json() {
        let failure = failure_json("no \"such\" \\ thing\n");
        assert_eq!(failure.expose(), r#"{"error":"no \"such\" \\ thing"}"#);
    }

    fn with_one_call() -> (Tools, Outputs, Instant) {
        let (mut tools, mut outputs, now) = (Tools::default(), Outputs::new(), clock::now());
        let declared = [ToolSpec {
            name: "weather".into(),
            description: String::new(),
            parameters_json: "{}".into(),
            timeout: Duration::from_secs(5),
            filler: None,
        }];
        tools.on_call(request("tc_1"), &declared, now, &mut outputs);
        (tools, outputs, now)
    }

    fn request(id: &str) -> Request {
        Request {
            id: ToolCallId::new(id),
            name: "weather".into(),
            arguments_json: "{}".into(),
            session: 1,
        }
    }

    fn result(id: &str) -> ToolResult {
        let outcome = Ok(Pii::new("1".to_owned()));
        ToolResult { id: ToolCallId::new(id), outcome, canceled: false, respond: true }
    }
}
