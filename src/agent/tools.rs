//! Tool calls that wait for a client, each with a deadline; each is resolved exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Outputs;
use super::command::{Deadline, Rejection, ToolResult};
use super::output::{ModelAction, Notification, Output, ToolCancel};
use super::spec::ToolSpec;
use crate::ids::ToolCallId;
use crate::privacy::Pii;

/// The open tool calls, and whether the model is owed a word when the last one is closed.
#[derive(Debug, Default)]
pub(super) struct Tools {
    open: BTreeMap<ToolCallId, OpenCall>,
    answer_owed: bool,
}

#[derive(Debug)]
struct OpenCall {
    deadline: Instant,
    notification: Notification,
}

/// What the model asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: ToolCallId,
    pub(super) name: String,
    pub(super) arguments_json: String,
}

impl Tools {
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Passes a call on to the clients; a tool that nobody declared fails at once.
    pub(super) fn on_call(
        &mut self,
        request: Request,
        declared: &[ToolSpec],
        now: Instant,
        outputs: &mut Outputs,
    ) {
        let Request { id, name, arguments_json } = request;
        let Some(tool) = declared.iter().find(|tool| tool.name == name) else {
            self.answer_owed = true;
            outputs.push_back(give(id, failure_json("there is no such tool")));
            return;
        };
        let notification = Notification::ToolCall {
            id: id.clone(),
            name,
            arguments_json,
            timeout_seconds: tool.timeout.as_secs(),
        };
        outputs.push_back(Output::Notify(notification.clone()));
        let deadline = now + tool.timeout.max(TIMEOUT_MIN);
        self.open.insert(id, OpenCall { deadline, notification });
    }

    /// Takes the first result of an open call, and gives it to the model.
    pub(super) fn on_result(
        &mut self,
        result: ToolResult,
        outputs: &mut Outputs,
    ) -> Result<(), Rejection> {
        if self.open.remove(&result.id).is_none() {
            return Err(Rejection::UnknownToolCall { id: result.id });
        }
        self.answer_owed |= result.respond;
        let output = match result.outcome {
            Ok(value) => value,
            Err(reason) => failure_json(reason.expose()),
        };
        outputs.push_back(give(result.id, output));
        Ok(())
    }

    /// Fails every call whose time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs) {
        let late = self.open.iter().filter(|(_, call)| call.deadline <= now);
        let late: Vec<ToolCallId> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.answer_owed = true;
            self.cancel(id, ToolCancel::Timeout, outputs);
        }
    }

    /// Fails every open call. The model hears of it, so that it does not wait; it need not answer.
    pub(super) fn cancel_all(&mut self, reason: ToolCancel, outputs: &mut Outputs) {
        while let Some(id) = self.open.keys().next().cloned() {
            self.cancel(id, reason, outputs);
        }
        self.answer_owed = false;
    }

    fn cancel(&mut self, id: ToolCallId, reason: ToolCancel, outputs: &mut Outputs) {
        self.open.remove(&id);
        outputs.push_back(Output::Notify(Notification::CancelToolCall { id: id.clone(), reason }));
        if reason != ToolCancel::Ended {
            outputs.push_back(give(id, failure_json(explain(reason))));
        }
    }

    /// Whether the model should speak to its results: once, after the last of them.
    pub(super) fn take_owed_answer(&mut self) -> bool {
        self.open.is_empty() && std::mem::take(&mut self.answer_owed)
    }

    /// The open calls as they were told, for a client that has come back.
    pub(super) fn open_calls(&self) -> impl Iterator<Item = &Notification> {
        self.open.values().map(|call| &call.notification)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.open.values().map(|call| (call.deadline, "tool call")).min()
    }
}

fn give(id: ToolCallId, output: Pii<String>) -> Output {
    Output::Model(ModelAction::ToolOutput { id, output })
}

/// A failed result, as the model reads it. `{:?}` of a plain sentence is a JSON string as well.
fn failure_json(reason: &str) -> Pii<String> {
    let plain: String = reason.chars().filter(|c| !c.is_control()).collect();
    let quoted = plain.replace('\\', "\\\\").replace('"', "\\\"");
    Pii::new(format!("{{\"error\":\"{quoted}\"}}"))
}

const fn explain(reason: ToolCancel) -> &'static str {
    match reason {
        ToolCancel::Timeout => "the tool did not answer in time",
        ToolCancel::Interrupted => "the tool was interrupted",
        ToolCancel::Ended => "the call has ended",
    }
}

/// A tool that may take no time at all could never answer.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn the_first_result_wins_and_the_second_is_refused() {
        let (mut tools, mut outputs, _) = with_one_call();
        assert_eq!(tools.on_result(result("tc_1"), &mut outputs), Ok(()));
        let refused = tools.on_result(result("tc_1"), &mut outputs);
        assert_eq!(refused, Err(Rejection::UnknownToolCall { id: ToolCallId::new("tc_1") }));
        assert!(tools.take_owed_answer());
        assert!(!tools.take_owed_answer(), "an answer is owed once");
    }

    #[test]
    fn a_call_nobody_answers_fails_at_its_deadline() {
        let (mut tools, mut outputs, now) = with_one_call();
        assert_eq!(tools.poll_timeout(), Some((now + Duration::from_secs(5), "tool call")));
        tools.handle_timeout(now + Duration::from_secs(4), &mut outputs);
        assert!(!tools.is_idle());
        outputs.clear();
        tools.handle_timeout(now + Duration::from_secs(5), &mut outputs);
        let id = ToolCallId::new("tc_1");
        let told = Notification::CancelToolCall { id: id.clone(), reason: ToolCancel::Timeout };
        let output = Pii::new(r#"{"error":"the tool did not answer in time"}"#.to_owned());
        let given = Output::Model(ModelAction::ToolOutput { id, output });
        assert_eq!(outputs, [Output::Notify(told), given]);
        assert!(tools.take_owed_answer());
    }

    #[test]
    fn a_tool_nobody_declared_fails_at_once() {
        let mut tools = Tools::default();
        let mut outputs = Outputs::new();
        tools.on_call(request("tc_1"), &[], clock::now(), &mut outputs);
        assert!(tools.is_idle() && tools.take_owed_answer());
        assert!(matches!(outputs[0], Output::Model(ModelAction::ToolOutput { .. })));
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
        }];
        tools.on_call(request("tc_1"), &declared, now, &mut outputs);
        (tools, outputs, now)
    }

    fn request(id: &str) -> Request {
        Request { id: ToolCallId::new(id), name: "weather".into(), arguments_json: "{}".into() }
    }

    fn result(id: &str) -> ToolResult {
        let outcome = Ok(Pii::new("1".to_owned()));
        ToolResult { id: ToolCallId::new(id), outcome, respond: true }
    }
}
