//! Tool calls of the model: each is reported once, as soon as its name and arguments are known.

use super::recent::Recent;
use crate::agent::ModelEvent;
use crate::ids::ToolCallId;
use crate::models::wire::{ArgumentsDone, Item, ItemKind};

/// The calls of late.
#[derive(Debug, Default)]
pub(super) struct Tools {
    calls: Recent<Asked, CALLS_KEPT>,
}

/// A call, as far as it is known.
#[derive(Debug, Default)]
struct Asked {
    item_id: Option<String>,
    call_id: Option<String>,
    name: Option<String>,
    reported: bool,
}

impl Tools {
    /// An item has begun: if it is a call, it tells the name.
    pub(super) fn on_item(&mut self, item: &Item) {
        if item.kind == ItemKind::FunctionCall {
            self.call(item);
        }
    }

    /// An item is complete: if it is a call, it tells everything.
    pub(super) fn on_item_done(&mut self, item: &Item) -> Option<ModelEvent> {
        let broken_off = item.status.as_deref() == Some("incomplete");
        if item.kind != ItemKind::FunctionCall || broken_off {
            return None;
        }
        self.call(item).report(item.arguments.as_deref()?)
    }

    /// The arguments are complete; the name may have to wait for the item.
    pub(super) fn on_arguments(&mut self, event: &ArgumentsDone) -> Option<ModelEvent> {
        let item = Item {
            id: Some(event.item_id.clone()).filter(|id| !id.is_empty()),
            call_id: event.call_id.clone(),
            name: event.name.clone(),
            ..Item::default()
        };
        self.call(&item).report(&event.arguments)
    }

    /// The call this item is about, with what the item adds to it.
    fn call(&mut self, item: &Item) -> &mut Asked {
        let same =
            |ours: &Option<String>, theirs: &Option<String>| ours.is_some() && ours == theirs;
        let known =
            |call: &Asked| same(&call.item_id, &item.id) || same(&call.call_id, &item.call_id);
        let call = self.calls.find_or_push(known, Asked::default);
        call.item_id = call.item_id.take().or_else(|| item.id.clone());
        call.call_id = call.call_id.take().or_else(|| item.call_id.clone());
        call.name = call.name.take().or_else(|| item.name.clone());
        call
    }
}

impl Asked {
    /// The call as the agent sees it, once all of it is known.
    fn report(&mut self, arguments: &str) -> Option<ModelEvent> {
        let id = self.call_id.as_deref().or(self.item_id.as_deref())?;
        let name = self.name.as_ref()?;
        if self.reported {
            return None;
        }
        self.reported = true;
        Some(ModelEvent::ToolCall {
            id: ToolCallId::new(id),
            name: name.clone(),
            arguments_json: arguments.to_owned(),
        })
    }
}

/// Calls whose events may still come, or come twice.
const CALLS_KEPT: usize = 64;
