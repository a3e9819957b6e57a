//! The half of a session that answers: from a request to the last event of its response.

use futures_util::future::{AbortHandle, Abortable};

use super::answer::{Answer, Ending, Piece, Speech, Stage, message};
use super::conversation::{Question, newest_question, question};
use super::dialogue::{Dialogue, Done};
use super::outbox::new_id;
use super::reply::{Messenger, OPENING, Reply, Tool, sentences};
use super::settings::{is_text, tools};
use super::voice::VoiceError;
use super::wire::Refusal;
use crate::models::wire::{
    Content, Item, ItemEvent, OutputItem, PartDone, PartEvent, ResponseEvent, ResponseParams,
    ServerEvent, TextDelta, TranscriptDone, output_audio_delta,
};

/// Answers one session may have under way: one in the conversation, the rest beside it.
const ANSWERS_MAX: usize = 8;

impl Dialogue {
    /// Answers what has been said.
    pub(super) fn answer(&mut self, params: ResponseParams) -> Result<(), Refusal> {
        let is_text = match &params.output_modalities {
            Some(modalities) => is_text(Some(modalities)),
            None => self.settings.is_text_only(),
        };
        if !is_text {
            self.take_seat()?;
        }
        let answer = Answer::new(new_id("resp"), params, is_text);
        if !answer.is_beside()
            && let Some(active) = self.answers.iter().find(|answer| !answer.is_beside())
        {
            let message = format!(
                "Conversation already has an active response in progress: {}. Wait until the \
                 response is finished before creating a new one.",
                active.id
            );
            return Err(Refusal::new("conversation_already_has_active_response", message));
        }
        if self.answers.len() == ANSWERS_MAX {
            return Err(Refusal::new("rate_limit_exceeded", "Too many responses at once."));
        }
        let response = Box::new(answer.response(&self.conversation_id));
        self.outbox.push(&ServerEvent::ResponseCreated(ResponseEvent { response }));
        self.answers.push(answer);
        self.think();
        Ok(())
    }

    /// Answers a turn unasked: at once, or after the answer under way.
    pub(super) fn answer_turn(&mut self) {
        self.is_answer_due = self.answer(ResponseParams::default()).is_err();
    }

    /// Breaks off an answer at the client's wish.
    pub(super) fn cancel(&mut self, id: Option<&str>) -> Result<(), Refusal> {
        let is_meant = |answer: &Answer| match id {
            Some(id) => answer.id == id,
            None => !answer.is_beside(),
        };
        let place = self.answers.iter().position(is_meant).ok_or_else(|| {
            let message = "Cancellation failed: no active response found";
            Refusal::new("response_cancel_not_active", message)
        })?;
        self.finish(place, Ending::Cancelled("client_cancelled"));
        Ok(())
    }

    /// Breaks off the answer in the conversation because someone speaks.
    pub(super) fn interrupt(&mut self) {
        if let Some(place) = self.answers.iter().position(|answer| !answer.is_beside()) {
            self.finish(place, Ending::Cancelled("turn_detected"));
        }
    }

    /// Begins the answers that waited for words, once all words are there.
    pub(super) fn think(&mut self) {
        let is_waiting = |answer: &Answer| matches!(answer.stage, Stage::Waiting);
        while self.unheard == 0
            && let Some(place) = self.answers.iter().position(is_waiting)
        {
            match self.reply(place) {
                Reply::Nothing => self.finish(place, Ending::Completed),
                Reply::Call { name, arguments } => self.call(place, &name, &arguments),
                Reply::Say(text) if self.answers[place].is_text => self.write(place, &text),
                Reply::Say(text) => self.speak(place, &text),
            }
        }
    }

    /// Takes a sentence from the voice.
    pub(super) fn on_sentence(&mut self, id: &str, sound: Result<Vec<i16>, VoiceError>) {
        let Some(place) = self.answers.iter().position(|answer| answer.id == id) else {
            return;
        };
        match sound {
            Ok(sound) => {
                if let Some(speech) = self.answers[place].speech() {
                    speech.take(&sound);
                }
                self.make_sentence(place);
            }
            Err(error) => {
                tracing::error!(%error, "the voice failed");
                self.finish(place, Ending::Failed(error.to_string()));
            }
        }
    }

    /// Whether there is speech to be sent.
    pub(super) fn has_speech(&mut self) -> bool {
        self.speaking().is_some()
    }

    /// Sends one piece of speech: what a client sends meanwhile is seen between two pieces.
    pub(super) fn speak_on(&mut self) {
        let Some(place) = self.speaking() else { return };
        let answer = &mut self.answers[place];
        let item_id = answer.item_id();
        let Some(speech) = answer.speech() else { return };
        match speech.pieces.pop_front() {
            Some(Piece::Words(words)) => {
                speech.told.push_str(&words);
                let told = speech.told.clone();
                self.outbox.push(&ServerEvent::TranscriptDelta(TextDelta {
                    response_id: answer.id.clone(),
                    item_id: item_id.clone(),
                    delta: words,
                    ..TextDelta::default()
                }));
                self.set_part(&item_id, Content::transcript("output_audio", &told));
            }
            Some(Piece::Sound(sound)) => {
                answer.samples += sound.len();
                let delta = output_audio_delta(&answer.id, &item_id, &sound);
                self.outbox.push(&ServerEvent::AudioDelta(delta));
                self.conversation.add_samples(&item_id, sound.len());
                self.has_spoken = true;
            }
            None => {}
        }
        if self.answers[place].speech().is_some_and(|speech| speech.is_over()) {
            self.finish(place, Ending::Completed);
        }
    }

    fn speaking(&mut self) -> Option<usize> {
        let has_piece =
            |answer: &mut Answer| answer.speech().is_some_and(|speech| !speech.pieces.is_empty());
        self.answers.iter_mut().position(has_piece)
    }

    fn reply(&mut self, place: usize) -> Reply {
        let answer = &self.answers[place];
        let tools = match &answer.params.tools {
            Some(declared) => tools(declared),
            None => self.settings.tools(),
        };
        if !answer.is_text {
            return self.reply_aloud(place, &tools);
        }
        let Some(messenger) = Messenger::among(&tools) else {
            return self.reply_in_writing(place, &tools, None);
        };
        let others: Vec<Tool> =
            tools.into_iter().filter(|tool| !messenger.is(&tool.name)).collect();
        match self.reply_in_writing(place, &others, Some(&messenger)) {
            Reply::Say(text) => messenger.say(&text),
            reply @ (Reply::Call { .. } | Reply::Nothing) => reply,
        }
    }

    fn reply_aloud(&mut self, place: usize, tools: &[Tool]) -> Reply {
        let answer = &self.answers[place];
        if let Some(text) = answer.dictated() {
            return Reply::Say(text);
        }
        let question = match &answer.params.input {
            Some(items) => question(&items.iter().collect::<Vec<&Item>>()),
            None => self.conversation.question(),
        };
        match question {
            Question::Outcomes(text) => Reply::Say(text),
            Question::Nobody => Reply::Say(OPENING.to_owned()),
            Question::Settled => Reply::Nothing,
            // What is answered beside the conversation leaves no trace in the mind.
            Question::Words(words) if answer.is_beside() => {
                self.mind.clone().answer(&words, Self::now(), tools)
            }
            Question::Words(words) => self.mind.answer(&words, Self::now(), tools),
        }
    }

    /// In writing the newest is answered, and of what the messenger has sent nothing is told.
    fn reply_in_writing(
        &mut self,
        place: usize,
        tools: &[Tool],
        messenger: Option<&Messenger>,
    ) -> Reply {
        let answer = &self.answers[place];
        if let Some(text) = answer.dictated() {
            return Reply::Say(text);
        }
        let question = match &answer.params.input {
            Some(items) => newest_question(&items.iter().collect::<Vec<&Item>>(), messenger),
            None => self.conversation.newest_question(messenger),
        };
        match question {
            Question::Outcomes(text) => Reply::Say(text),
            Question::Nobody => Reply::Say(OPENING.to_owned()),
            Question::Settled => Reply::Nothing,
            Question::Words(words) if answer.is_beside() => {
                self.mind.clone().read(&words, Self::now(), tools)
            }
            Question::Words(words) => self.mind.read(&words, Self::now(), tools),
        }
    }

    fn speak(&mut self, place: usize, text: &str) {
        let sentences = sentences(text);
        if sentences.is_empty() {
            return self.finish(place, Ending::Completed);
        }
        self.open_message(place, &Content::transcript("audio", ""));
        self.set_part(&self.answers[place].item_id(), Content::transcript("output_audio", ""));
        self.answers[place].stage = Stage::Speaking(Speech::new(sentences));
        self.make_sentence(place);
    }

    /// Gives the next sentence to the voice, while the one before is on its way out.
    fn make_sentence(&mut self, place: usize) {
        let voice = self.settings.voice(self.voice);
        let answer = &mut self.answers[place];
        let response_id = answer.id.clone();
        let Some(speech) = answer.speech() else { return };
        let Some(sentence) = speech.sentences.pop_front() else { return };
        let (handle, registration) = AbortHandle::new_pair();
        speech.making = Some((sentence.clone(), handle));
        let making = async move {
            let sound = voice.speak(&sentence).await;
            Done::Sentence { response_id, sound }
        };
        let making = Abortable::new(making, registration);
        self.works.0.push(Box::pin(async move { making.await.unwrap_or(Done::Stopped) }));
    }

    pub(super) fn open_message(&mut self, place: usize, part: &Content) {
        let item_id = new_id("item");
        self.open_item(place, message(&item_id, None, "in_progress"));
        let response_id = self.answers[place].id.clone();
        let event = part_event(response_id, item_id, part.clone());
        self.outbox.push(&ServerEvent::PartAdded(event));
    }

    pub(super) fn open_item(&mut self, place: usize, item: Item) {
        let answer = &mut self.answers[place];
        answer.output = Some(item.clone());
        let (response_id, is_beside) = (answer.id.clone(), answer.is_beside());
        self.outbox.push(&ServerEvent::OutputItemAdded(OutputItem {
            response_id,
            output_index: 0,
            item: Box::new(item.clone()),
        }));
        if is_beside {
            return;
        }
        match self.conversation.add(item.clone(), None) {
            Ok(previous_item_id) => {
                let event = ItemEvent { previous_item_id, item: Box::new(item) };
                self.outbox.push(&ServerEvent::ItemAdded(event));
            }
            Err(refusal) => tracing::error!(?refusal, "an item of ours was not taken"),
        }
    }

    /// Keeps the conversation's copy of an item of ours up to date.
    fn set_part(&mut self, item_id: &str, part: Content) {
        if let Some(item) = self.conversation.get_mut(item_id) {
            item.content = Some(vec![part]);
        }
    }

    /// Ends an answer: its open item first, then itself.
    pub(super) fn finish(&mut self, place: usize, ending: Ending) {
        let mut answer = self.answers.remove(place);
        match std::mem::replace(&mut answer.stage, Stage::Waiting) {
            Stage::Speaking(speech) => {
                if let Some((_, handle)) = speech.making {
                    handle.abort();
                }
                self.close_speech(&mut answer, &speech.told, ending.item_status());
            }
            Stage::Writing(writing) => {
                self.close_writing(&mut answer, &writing, ending.item_status());
            }
            Stage::Waiting => {}
        }
        if let Some(item) = &answer.output {
            self.close_item(&answer, item.clone());
        }
        let response = Box::new(answer.done(ending, &self.conversation_id));
        self.outbox.push(&ServerEvent::ResponseDone(ResponseEvent { response }));
        if std::mem::take(&mut self.is_answer_due) {
            self.answer_turn();
        }
    }

    fn close_speech(&mut self, answer: &mut Answer, told: &str, status: &str) {
        let (response_id, item_id) = (answer.id.clone(), answer.item_id());
        self.outbox.push(&ServerEvent::AudioDone(PartDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            ..PartDone::default()
        }));
        self.outbox.push(&ServerEvent::TranscriptDone(TranscriptDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            transcript: Some(told.to_owned()),
            ..TranscriptDone::default()
        }));
        let part = Content::transcript("audio", told);
        self.outbox.push(&ServerEvent::PartDone(part_event(response_id, item_id.clone(), part)));
        let part = Content::transcript("output_audio", told);
        answer.output = Some(message(&item_id, Some(part), status));
    }

    fn close_item(&mut self, answer: &Answer, item: Item) {
        let item_id = answer.item_id();
        if !answer.is_beside() {
            if let Some(kept) = self.conversation.get_mut(&item_id) {
                *kept = item.clone();
            }
            let event = ItemEvent { previous_item_id: None, item: Box::new(item.clone()) };
            self.outbox.push(&ServerEvent::ItemDone(event));
        }
        self.outbox.push(&ServerEvent::OutputItemDone(OutputItem {
            response_id: answer.id.clone(),
            output_index: 0,
            item: Box::new(item),
        }));
    }
}

fn part_event(response_id: String, item_id: String, part: Content) -> PartEvent {
    PartEvent { response_id, item_id, output_index: 0, content_index: 0, part }
}
