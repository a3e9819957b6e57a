//! Tool calls of the model: each is reported once, when its item is complete.
//!
//! That its arguments are complete says nothing: servers say so of answers that break off, too.

use super::recent::Recent;
use crate::agent::ModelEvent;
use crate::ids::{ResponseId, ToolCallId};
use crate::models::wire::{ArgumentsDone, Item, ItemKind};

/// The calls of late.
#[derive(Debug, Default)]
pub(super) struct Tools {
    calls: Recent<Asked, CALLS_KEPT>,
}

/// A call, as far as it is known.
#[derive(Debug, Default)]
struct Asked {
    response: Option<ResponseId>,
    item_id: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    /// Reported, or broken off: nothing more is to be said of it.
    is_settled: bool,
    is_reported: bool,
}

impl Tools {
    /// An item has begun: if it is a call, it tells the name.
    pub(super) fn on_item(&mut self, item: &Item, response: ResponseId) {
        if item.kind == ItemKind::FunctionCall {
            self.call(item, response);
        }
    }

    /// The arguments are there. They are worth something once the item, or its answer, is complete.
    pub(super) fn on_arguments(&mut self, event: &ArgumentsDone, response: ResponseId) {
        let item = Item {
            id: Some(event.item_id.clone()).filter(|id| !id.is_empty()),
            call_id: event.call_id.clone(),
            name: event.name.clone(),
            arguments: Some(event.arguments.clone()),
            ..Item::default()
        };
        self.call(&item, response);
    }

    /// An item is over: if it is a call and complete, it tells everything.
    pub(super) fn on_item_done(&mut self, item: &Item, response: ResponseId) -> Option<ModelEvent> {
        if item.kind != ItemKind::FunctionCall {
            return None;
        }
        let is_complete = item.status.as_deref().is_none_or(|status| status == COMPLETED);
        let call = self.call(item, response);
        if is_complete {
            return call.report();
        }
        call.is_settled = true;
        None
    }

    /// An answer is over. Its calls that were told only by halves are complete if it is.
    pub(super) fn on_response_done(
        &mut self,
        response: &ResponseId,
        output: &[Item],
        is_complete: bool,
    ) -> Vec<ModelEvent> {
        let is_told = |item: &&Item| is_complete || item.status.as_deref() == Some(COMPLETED);
        let told = output.iter().filter(is_told);
        let mut calls: Vec<ModelEvent> =
            told.filter_map(|item| self.on_item_done(item, response.clone())).collect();
        for call in self.calls.filter(|call| call.response.as_ref() == Some(response)) {
            if is_complete && call.arguments.is_some() {
                calls.extend(call.report());
            }
            call.is_settled = true;
        }
        calls
    }

    /// Whether a call of this answer was reported.
    pub(super) fn has_reported(&mut self, response: &ResponseId) -> bool {
        let is_reported =
            |call: &Asked| call.is_reported && call.response.as_ref() == Some(response);
        self.calls.find(is_reported).is_some()
    }

    /// The call this item is about, with what the item adds to it.
    fn call(&mut self, item: &Item, response: ResponseId) -> &mut Asked {
        let same =
            |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
        let known =
            |call: &Asked| same(&call.item_id, &item.id) || same(&call.call_id, &item.call_id);
        let call = self.calls.find_or_push(known, Asked::default);
        call.response.get_or_insert(response);
        call.item_id = call.item_id.take().or_else(|| item.id.clone());
        call.call_id = call.call_id.take().or_else(|| item.call_id.clone());
        call.name = call.name.take().or_else(|| item.name.clone());
        // What is empty at first is filled in later.
        let arguments = item.arguments.clone().filter(|arguments| !arguments.is_empty());
        call.arguments = arguments.or_else(|| call.arguments.take());
        call
    }
}

impl Asked {
    /// The call as the agent sees it, if all of it is known and nothing of it was told.
    fn report(&mut self) -> Option<ModelEvent> {
        let id = self.call_id.as_deref().or(self.item_id.as_deref())?;
        let (name, response) = (self.name.as_ref()?, self.response.as_ref()?);
        if self.is_settled {
            return None;
        }
        self.is_settled = true;
        self.is_reported = true;
        Some(ModelEvent::ToolCall {
            response: response.clone(),
            id: ToolCallId::new(id),
            name: name.clone(),
            arguments_json: self.arguments.clone().unwrap_or_else(|| "{}".to_owned()),
        })
    }
}

const COMPLETED: &str = "completed";

/// Calls whose events may still come, or come twice.
const CALLS_KEPT: usize = 64;
