//! What is said on a link, as far as it outlives the link: for the chronicle and the tape.

use std::time::{Duration, Instant};

use super::{Conversation, Output, Slot};
use crate::agent::{Medium, ModelEvent};
use crate::media::ms_of_24k;
use crate::models::ModelItem;
use crate::models::openai::chronicle::{Added, Source};
use crate::models::wire::{ItemEvent, ItemKind, ServerEvent, encode_for};

impl Conversation {
    /// Takes note of what a server says, before the dialogue makes sense of it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the dialogue tells the rest")]
    pub(super) fn note(&mut self, slot: Slot, event: &ServerEvent<'_>, now: Instant) {
        let clock = self.clock;
        let Some(link) = self.link(slot) else { return };
        match event {
            ServerEvent::SessionCreated(event) | ServerEvent::SessionUpdated(event) => {
                link.on_session(event, &clock);
            }
            ServerEvent::SpeechStarted(event) => {
                let from = link.frame_at(event.audio_start_ms);
                let name = link.name(&event.item_id);
                self.tape.on_started(name, from);
            }
            ServerEvent::SpeechStopped(event) => {
                let name = link.name(&event.item_id);
                self.tape.on_over(&name, now);
            }
            ServerEvent::Committed(event) => {
                let (name, session) = (link.name(&event.item_id), link.session);
                self.tape.on_over(&name, now);
                let previous = event.previous_item_id.as_deref();
                let id = &event.item_id;
                self.chronicle.on_item(Added { name, session, id, previous, is_heard: true });
            }
            ServerEvent::ItemAdded(event) | ServerEvent::ItemDone(event) => {
                let (session, name) = (link.session, event.item.id.as_deref());
                let name = name.map(|id| link.name(id)).unwrap_or_default();
                self.on_item(session, name, event);
            }
            ServerEvent::ItemDeleted(event) => {
                let (name, session) = (link.name(&event.item_id), link.session);
                self.tape.on_settled(&name);
                self.chronicle.on_deleted(session, &event.item_id);
            }
            _ => {}
        }
    }

    /// An item of the server's own: of what somebody says aloud.
    fn on_item(&mut self, session: u32, name: String, event: &ItemEvent) {
        let item = &event.item;
        let Some(id) = item.id.as_deref().filter(|_| item.kind == ItemKind::Message) else {
            return;
        };
        let mut parts = item.content.iter().flatten();
        let is_heard = match item.role.as_deref() {
            Some("assistant") => false,
            Some("user") if parts.any(|part| part.kind == "input_audio") => true,
            _ => return,
        };
        let previous = event.previous_item_id.as_deref();
        self.chronicle.on_item(Added { name, session, id, previous, is_heard });
    }

    /// Passes on the words that wait for others: the session that stands is at its end.
    pub(super) fn release_words(&mut self, now: Instant) {
        for slot in [Slot::Leaving, Slot::Current] {
            if let Some(link) = self.link(slot) {
                link.dialogue.release_words();
            }
        }
        self.collect(now);
    }

    /// Passes on what the dialogues have for the agent and for their servers.
    pub(super) fn collect(&mut self, now: Instant) {
        for slot in [Slot::Leaving, Slot::Current, Slot::Next] {
            while let Some(link) = self.link(slot) {
                let Some(item) = link.dialogue.poll_item() else { break };
                let item = link.renamed(item);
                self.keep(slot, &item, now);
                self.outputs.push_back(Output::Item(item));
            }
            self.collect_requests(slot);
        }
    }

    /// What is to be sent on a link.
    pub(super) fn collect_requests(&mut self, slot: Slot) {
        let dialect = self.dialect;
        while let Some(link) = self.link(slot) {
            let Some(request) = link.dialogue.poll_request() else { break };
            let text = encode_for(&dialect, &request.event, Some(&request.event_id));
            let link = link.id;
            // What a server has no words for is not said to it; our own record has it all the same.
            self.outputs.extend(text.map(|text| Output::Send { link, text }));
        }
    }

    /// Keeps what the agent is told, as far as another session should know it.
    fn keep(&mut self, slot: Slot, item: &ModelItem, now: Instant) {
        if self.medium == Medium::Text {
            return;
        }
        let (Some(link), Some(name)) = (self.link(slot), name_in(item)) else { return };
        let (session, id) = (link.session, link.own(name).unwrap_or(name));
        let source = Source { name, session, id };
        match item {
            ModelItem::Audio { samples, .. } => {
                self.tape.on_answered();
                self.chronicle.on_audio(source, samples);
                let length = Duration::from_millis(ms_of_24k(samples.len() as u64));
                self.plays_until = self.plays_until.max(now) + length;
            }
            ModelItem::Event(ModelEvent::Words { text, is_final, .. }) => {
                self.chronicle.on_words(source, text.expose(), *is_final);
            }
            ModelItem::Event(ModelEvent::Transcript { text, is_final: true, .. }) => {
                self.tape.on_settled(name);
                self.chronicle.on_heard(source, text.expose());
                if slot == Slot::Leaving {
                    self.tell_untold(Slot::Current);
                }
            }
            ModelItem::Event(ModelEvent::ToolCall { name: tool, arguments_json, .. }) => {
                self.chronicle.on_call(source, tool, arguments_json);
            }
            ModelItem::Event(_) | ModelItem::AudioDone { .. } => {}
        }
    }
}

/// The thing that an item is about.
fn name_in(item: &ModelItem) -> Option<&str> {
    match item {
        ModelItem::Audio { utterance, .. }
        | ModelItem::AudioDone { utterance }
        | ModelItem::Event(
            ModelEvent::Words { utterance, .. }
            | ModelEvent::Transcript { utterance, .. }
            | ModelEvent::SpeechStarted { utterance, .. }
            | ModelEvent::SpeechStopped { utterance },
        ) => Some(utterance.as_str()),
        ModelItem::Event(ModelEvent::ToolCall { id, .. }) => Some(id.as_str()),
        ModelItem::Event(_) => None,
    }
}
