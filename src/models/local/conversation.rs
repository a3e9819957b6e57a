//! A session's conversation: its items in order, and what of them is yet to be answered.

use super::reply::{Messenger, outcome};
use super::voice::RATE;
use super::wire::Refusal;
use crate::models::wire::{Content, Item, ItemKind};

/// The items, oldest first.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    item: Item,
    /// How much sound of ours it has, at 24 kHz.
    samples: u64,
}

/// What there is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What tools gave, told in sentences.
    Outcomes(String),
    /// What the user said or wrote.
    Words(String),
    /// Nobody has said anything since we spoke.
    Nobody,
    /// Nothing is left to be said. Only in writing: who calls has to be answered.
    Settled,
}

impl Conversation {
    /// Adds an item behind `previous`, or at the end; gives the id of the one before it.
    pub(super) fn add(
        &mut self,
        item: Item,
        previous: Option<&str>,
    ) -> Result<Option<String>, Refusal> {
        let id = item.id.clone().unwrap_or_default();
        if self.find(&id).is_some() {
            let message = format!("An item with id '{id}' is in the conversation already.");
            return Err(Refusal::invalid("item.id", message));
        }
        let place = match previous {
            None => self.entries.len(),
            Some("root") => 0,
            Some(previous) => match self.find(previous) {
                Some(place) => place + 1,
                None => {
                    return Err(Refusal::no_item("item_create_invalid_previous_item_id", previous));
                }
            },
        };
        let before = self.entries[..place].last().map(|entry| entry.id.clone());
        self.entries.insert(place, Entry { id, item, samples: 0 });
        if self.entries.len() > ITEMS_MAX {
            self.entries.remove(0);
        }
        Ok(before)
    }

    /// The id of the newest item.
    pub(super) fn last_id(&self) -> Option<String> {
        self.entries.last().map(|entry| entry.id.clone())
    }

    /// An item.
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.find(id).map(|place| &self.entries[place].item)
    }

    /// An item that still changes.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Item> {
        self.find(id).map(|place| &mut self.entries[place].item)
    }

    /// Counts sound that was sent for an item of ours.
    pub(super) fn add_samples(&mut self, id: &str, samples: usize) {
        if let Some(place) = self.find(id) {
            self.entries[place].samples += samples as u64;
        }
    }

    /// Forgets an item.
    pub(super) fn delete(&mut self, id: &str) -> Result<(), Refusal> {
        let place =
            self.find(id).ok_or_else(|| Refusal::no_item("item_delete_invalid_item_id", id))?;
        self.entries.remove(place);
        Ok(())
    }

    /// Forgets what was not heard of an item of ours, and its words with it.
    pub(super) fn truncate(
        &mut self,
        id: &str,
        content_index: u32,
        audio_end_ms: u64,
    ) -> Result<(), Refusal> {
        let place =
            self.find(id).ok_or_else(|| Refusal::no_item("item_truncate_invalid_item_id", id))?;
        let entry = &mut self.entries[place];
        let part = entry.item.content.as_mut().and_then(|parts| parts.first_mut());
        let Some(part) = part.filter(|part| part.kind == "output_audio" && content_index == 0)
        else {
            let message = "Only the model's own audio can be truncated.";
            return Err(Refusal::new("unsupported_content_type", message));
        };
        let sent_ms = entry.samples * 1000 / u64::from(RATE);
        if audio_end_ms > sent_ms {
            let message =
                format!("Audio content of {sent_ms}ms is already shorter than {audio_end_ms}ms");
            return Err(Refusal::new("invalid_value", message));
        }
        entry.samples = audio_end_ms * u64::from(RATE) / 1000;
        part.transcript = None;
        Ok(())
    }

    /// Whether the model has asked for a tool by this id.
    pub(super) fn has_call(&self, call_id: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry.item.kind == ItemKind::FunctionCall
                && entry.item.call_id.as_deref() == Some(call_id)
        })
    }

    /// What there is to answer: what came after the last item of ours.
    pub(super) fn question(&self) -> Question {
        let items: Vec<&Item> = self.entries.iter().map(|entry| &entry.item).collect();
        question(&items)
    }

    /// What there is to answer in writing.
    pub(super) fn newest_question(&self, messenger: Option<&Messenger>) -> Question {
        let items: Vec<&Item> = self.entries.iter().map(|entry| &entry.item).collect();
        newest_question(&items, messenger)
    }

    fn find(&self, id: &str) -> Option<usize> {
        // What is asked for is nearly always new.
        self.entries.iter().rposition(|entry| entry.id == id)
    }
}

/// What there is to answer in these items, oldest first.
pub(super) fn question(items: &[&Item]) -> Question {
    let new = after_ours(items);
    let outputs = items[new..].iter().filter(|item| item.kind == ItemKind::FunctionCallOutput);
    let outcomes: Vec<String> =
        outputs.map(|item| outcome(item.output.as_deref().unwrap_or_default())).collect();
    if !outcomes.is_empty() {
        return Question::Outcomes(outcomes.join(" "));
    }
    let mut said =
        items[new..].iter().filter(|item| item.role.as_deref() == Some("user")).peekable();
    if said.peek().is_none() {
        return Question::Nobody;
    }
    let texts: Vec<&str> = said.flat_map(|item| texts(item)).collect();
    Question::Words(texts.join(" "))
}

/// The newest there is to answer in these items, oldest first. That the messenger has done its
/// work is no news.
pub(super) fn newest_question(items: &[&Item], messenger: Option<&Messenger>) -> Question {
    let new = after_ours(items);
    let is_quiet =
        |output: &Item| messenger.is_some_and(|messenger| answers(items, output, messenger));
    let is_output = |item: &Item| item.kind == ItemKind::FunctionCallOutput && !is_quiet(item);
    let is_said = |item: &Item| item.role.as_deref() == Some("user") && !words_of(item).is_empty();
    match items[new..].iter().rfind(|item| is_output(item) || is_said(item)) {
        Some(item) if item.kind == ItemKind::Message => Question::Words(words_of(item)),
        Some(_) => {
            let outputs = items[new..].iter().filter(|item| is_output(item));
            let told = outputs.map(|item| outcome(item.output.as_deref().unwrap_or_default()));
            Question::Outcomes(told.collect::<Vec<_>>().join(" "))
        }
        None if items.iter().any(|item| is_ours(item)) => Question::Settled,
        None => Question::Nobody,
    }
}

/// The words of a message.
pub(super) fn words_of(item: &Item) -> String {
    texts(item).collect::<Vec<_>>().join(" ")
}

fn after_ours(items: &[&Item]) -> usize {
    items.iter().rposition(|item| is_ours(item)).map_or(0, |place| place + 1)
}

fn is_ours(item: &Item) -> bool {
    item.kind == ItemKind::FunctionCall || item.role.as_deref() == Some("assistant")
}

/// Whether this output is of a call of the messenger.
fn answers(items: &[&Item], output: &Item, messenger: &Messenger) -> bool {
    let is_asked =
        |item: &&&Item| item.kind == ItemKind::FunctionCall && item.call_id == output.call_id;
    let name = items.iter().rfind(is_asked).and_then(|item| item.name.as_deref());
    name.is_some_and(|name| messenger.is(name))
}

fn texts(item: &Item) -> impl Iterator<Item = &str> {
    let parts = item.content.as_deref().unwrap_or_default().iter();
    parts.filter_map(|part: &Content| part.text.as_deref().or(part.transcript.as_deref()))
}

/// The oldest items are forgotten over it: an hour of talk has fewer.
const ITEMS_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::local::reply::{Parameter, Tool};

    #[test]
    fn items_go_to_the_end_or_behind_another() {
        let mut conversation = Conversation::default();
        assert_eq!(conversation.add(user("a", "one"), None), Ok(None));
        assert_eq!(conversation.add(user("c", "three"), None), Ok(Some("a".into())));
        assert_eq!(conversation.add(user("b", "two"), Some("a")), Ok(Some("a".into())));
        assert_eq!(conversation.add(user("z", "zero"), Some("root")), Ok(None));
        assert!(conversation.add(user("x", ""), Some("nobody")).is_err());
        assert!(conversation.add(user("a", ""), None).is_err());
        assert_eq!(conversation.question(), Question::Words("zero one two three".into()));
    }

    #[test]
    fn only_what_came_after_our_last_words_is_answered() {
        let mut conversation = Conversation::default();
        assert_eq!(conversation.question(), Question::Nobody);
        conversation.add(user("a", "one"), None).unwrap();
        conversation.add(ours("b"), None).unwrap();
        assert_eq!(conversation.question(), Question::Nobody);
        conversation.add(user("c", "two"), None).unwrap();
        assert_eq!(conversation.question(), Question::Words("two".into()));
    }

    #[test]
    fn the_outcome_of_a_tool_is_answered_first() {
        let mut conversation = Conversation::default();
        conversation.add(user("a", "the weather?"), None).unwrap();
        let call = Item { id: Some("b".into()), kind: ItemKind::FunctionCall, ..Item::default() };
        let call = Item { call_id: Some("call_1".into()), ..call };
        conversation.add(call, None).unwrap();
        let output = Item::function_call_output("call_1", "sunny");
        conversation.add(Item { id: Some("c".into()), ..output }, None).unwrap();
        assert!(conversation.has_call("call_1") && !conversation.has_call("call_2"));
        assert_eq!(conversation.question(), Question::Outcomes("Sunny.".into()));
    }

    #[test]
    fn in_writing_the_newest_is_answered() {
        let message = Parameter { name: "message".into(), ..Parameter::default() };
        let tool = Tool { name: "say".into(), parameters: vec![message], ..Tool::default() };
        let messenger = Messenger::among(&[tool]).unwrap();
        let mut conversation = Conversation::default();
        let asked = |conversation: &Conversation| conversation.newest_question(Some(&messenger));
        assert_eq!(asked(&conversation), Question::Nobody);
        conversation.add(user("u1", "one"), None).unwrap();
        conversation.add(user("u2", "two"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Words("two".into()));
        conversation.add(call("c1", "weather"), None).unwrap();
        conversation.add(output("c1", "sunny"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Outcomes("Sunny.".into()));
        conversation.add(user("u3", "three"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Words("three".into()));
        conversation.add(call("c2", "say"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Settled);
        conversation.add(output("c2", "sent"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Settled);
        conversation.add(user("u4", "four"), None).unwrap();
        assert_eq!(asked(&conversation), Question::Words("four".into()));
    }

    #[test]
    fn truncation_takes_no_more_than_there_is() {
        let mut conversation = Conversation::default();
        conversation.add(ours("b"), None).unwrap();
        conversation.add(user("c", "x"), None).unwrap();
        conversation.add_samples("b", 24_000);
        let refusal = conversation.truncate("b", 0, 1001).unwrap_err();
        let event = refusal.event(None).encode(None);
        assert!(
            event.contains("Audio content of 1000ms is already shorter than 1001ms"),
            "{event}"
        );
        conversation.truncate("b", 0, 400).unwrap();
        assert!(conversation.truncate("b", 0, 401).is_err());
        assert!(conversation.truncate("c", 0, 0).is_err());
        assert!(conversation.truncate("d", 0, 0).is_err());
        let parts = conversation.get("b").unwrap().content.as_ref().unwrap();
        assert_eq!(parts[0].transcript, None);
    }

    #[test]
    fn a_deleted_item_is_gone() {
        let mut conversation = Conversation::default();
        conversation.add(user("a", "one"), None).unwrap();
        conversation.delete("a").unwrap();
        assert_eq!((conversation.get("a"), conversation.last_id()), (None, None));
        assert!(conversation.delete("a").is_err());
    }

    #[test]
    fn the_oldest_items_are_forgotten() {
        let mut conversation = Conversation::default();
        for number in 0..=ITEMS_MAX {
            conversation.add(user(&number.to_string(), "x"), None).unwrap();
        }
        assert_eq!(conversation.entries.len(), ITEMS_MAX);
        assert_eq!(conversation.get("0"), None);
    }

    fn user(id: &str, text: &str) -> Item {
        Item { id: Some(id.to_owned()), ..Item::input_text("user", text) }
    }

    fn call(id: &str, name: &str) -> Item {
        Item {
            id: Some(format!("call item {id}")),
            kind: ItemKind::FunctionCall,
            call_id: Some(id.to_owned()),
            name: Some(name.to_owned()),
            ..Item::default()
        }
    }

    fn output(call: &str, output: &str) -> Item {
        let id = Some(format!("output item {call}"));
        Item { id, ..Item::function_call_output(call, output) }
    }

    fn ours(id: &str) -> Item {
        Item {
            id: Some(id.to_owned()),
            role: Some("assistant".to_owned()),
            content: Some(vec![Content::transcript("output_audio", "words")]),
            ..Item::default()
        }
    }
}
