//! The part of answering that writes: words and calls of tools, a few words at a time.

use std::collections::VecDeque;
use std::time::Duration;

use super::answer::{Answer, Ending, Stage, call, message};
use super::dialogue::{Dialogue, Done};
use super::outbox::new_id;
use crate::models::wire::{
    ArgumentsDelta, ArgumentsDone, Content, Item, PartEvent, ServerEvent, TextDelta, TextDone,
};

/// Writing in the making.
#[derive(Debug)]
pub(super) struct Writing {
    form: Form,
    /// What is not yet sent.
    rest: VecDeque<String>,
    /// What is.
    told: String,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A message.
    Text,
    /// A tool's arguments.
    Call { call_id: String, name: String },
}

impl Writing {
    fn new(form: Form, text: &str) -> Self {
        Self { form, rest: pieces(text), told: String::new() }
    }

    /// What is written so far, as an item.
    fn item(&self, id: &str, status: &str) -> Item {
        match &self.form {
            Form::Text => message(id, Some(Content::text("output_text", &self.told)), status),
            Form::Call { call_id, name } => call(id, call_id, name, &self.told, status),
        }
    }
}

impl Dialogue {
    /// Begins to write a message.
    pub(super) fn write(&mut self, place: usize, text: &str) {
        self.open_message(place, &Content::text("text", ""));
        self.answers[place].stage = Stage::Writing(Writing::new(Form::Text, text));
        self.write_on(place);
    }

    /// Begins to write a call of a tool.
    pub(super) fn call(&mut self, place: usize, name: &str, arguments: &str) {
        let (item_id, call_id) = (new_id("item"), new_id("call"));
        self.open_item(place, call(&item_id, &call_id, name, "", "in_progress"));
        let form = Form::Call { call_id, name: name.to_owned() };
        self.answers[place].stage = Stage::Writing(Writing::new(form, arguments));
        self.write_on(place);
    }

    /// A pause is over: writes on, unless the answer was broken off in it.
    pub(super) fn on_pause(&mut self, response_id: &str) {
        if let Some(place) = self.answers.iter().position(|answer| answer.id == response_id) {
            self.write_on(place);
        }
    }

    /// Writes a few words, and pauses.
    fn write_on(&mut self, place: usize) {
        let answer = &mut self.answers[place];
        let (response_id, item_id) = (answer.id.clone(), answer.item_id());
        let Stage::Writing(writing) = &mut answer.stage else { return };
        if let Some(piece) = writing.rest.pop_front() {
            writing.told.push_str(&piece);
            let item = writing.item(&item_id, "in_progress");
            let event = delta(&writing.form, response_id.clone(), item_id.clone(), piece);
            answer.output = Some(item.clone());
            self.outbox.push(&event);
            if let Some(kept) = self.conversation.get_mut(&item_id) {
                *kept = item;
            }
        }
        let answer = &self.answers[place];
        if matches!(&answer.stage, Stage::Writing(writing) if writing.rest.is_empty()) {
            return self.finish(place, Ending::Completed);
        }
        self.works.0.push(Box::pin(async move {
            tokio::time::sleep(PAUSE).await;
            Done::Paused { response_id }
        }));
    }

    /// Ends what is written, whole or not.
    pub(super) fn close_writing(&mut self, answer: &mut Answer, writing: &Writing, status: &str) {
        let (response_id, item_id) = (answer.id.clone(), answer.item_id());
        answer.output = Some(writing.item(&item_id, status));
        let told = writing.told.clone();
        match &writing.form {
            Form::Text => {
                self.outbox.push(&ServerEvent::TextDone(TextDone {
                    response_id: response_id.clone(),
                    item_id: item_id.clone(),
                    text: Some(told.clone()),
                    ..TextDone::default()
                }));
                let part = Content::text("text", &told);
                let event = PartEvent { response_id, item_id, part, ..PartEvent::default() };
                self.outbox.push(&ServerEvent::PartDone(event));
            }
            Form::Call { call_id, name } => {
                self.outbox.push(&ServerEvent::ArgumentsDone(ArgumentsDone {
                    response_id,
                    item_id,
                    output_index: 0,
                    call_id: Some(call_id.clone()),
                    name: Some(name.clone()),
                    arguments: told,
                }));
            }
        }
    }
}

fn delta(form: &Form, response_id: String, item_id: String, delta: String) -> ServerEvent<'static> {
    match form {
        Form::Text => ServerEvent::TextDelta(TextDelta {
            response_id,
            item_id,
            delta,
            ..TextDelta::default()
        }),
        Form::Call { call_id, .. } => ServerEvent::ArgumentsDelta(ArgumentsDelta {
            response_id,
            item_id,
            output_index: 0,
            call_id: call_id.clone(),
            delta,
        }),
    }
}

/// The text, a few words at a time.
fn pieces(text: &str) -> VecDeque<String> {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    words.chunks(WORDS_AT_ONCE).map(<[&str]>::concat).collect()
}

/// Most answers are one or two of these.
const WORDS_AT_ONCE: usize = 4;

/// 200 words a second: as fast as quick models write, and slow enough to be interrupted.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_text_are_the_text() {
        let text = "One, two,  three.\nFour five six seven";
        assert_eq!(pieces(text).len(), 2);
        assert_eq!(pieces(text).into_iter().collect::<String>(), text);
        assert!(pieces("").is_empty());
    }
}
