//! The half of a session that listens: from sound to turns, and from turns to words.

use serde_json::json;

use super::answer::item;
use super::dialogue::{Dialogue, Done};
use super::ear::{Heard, RATE, TooShort};
use super::outbox::new_id;
use super::recognizer::HearError;
use super::wire::Refusal;
use crate::models::wire::{
    Committed, Content, ErrorBody, Field, Item, ItemKind, ServerEvent, SpeechStarted,
    SpeechStopped, TranscriptionCompleted, TranscriptionDelta, TranscriptionFailed,
};

/// Speech that is not over.
#[derive(Debug)]
pub(super) struct Turn {
    item_id: String,
    is_guessing: bool,
    guess: String,
    told: String,
}

impl Dialogue {
    /// Takes sound of the user's.
    pub(super) fn append(&mut self, audio: &str) -> Result<(), Refusal> {
        let samples = self
            .pcm
            .decode(audio)
            .map_err(|_| Refusal::invalid("audio", "Invalid 'audio': this is not base64."))?;
        for heard in self.ear.push(&samples) {
            match heard {
                Heard::Started { at_ms } => self.begin_turn(at_ms),
                Heard::Stopped { at_ms, sound } => self.end_turn(at_ms, sound),
            }
        }
        self.guess();
        Ok(())
    }

    fn begin_turn(&mut self, audio_start_ms: u64) {
        let item_id = new_id("item");
        self.outbox.push(&ServerEvent::SpeechStarted(SpeechStarted {
            audio_start_ms,
            item_id: item_id.clone(),
        }));
        let (guess, told) = (String::new(), String::new());
        self.turn = Some(Turn { item_id, is_guessing: false, guess, told });
        if self.ear.detection().is_some_and(|detection| detection.interrupt_response) {
            self.is_answer_due = false;
            self.interrupt();
        }
    }

    fn end_turn(&mut self, audio_end_ms: u64, sound: Vec<i16>) {
        if let Some(turn) = &self.turn {
            let item_id = turn.item_id.clone();
            self.outbox.push(&ServerEvent::SpeechStopped(SpeechStopped { audio_end_ms, item_id }));
        }
        self.hear(sound);
        if self.ear.detection().is_some_and(|detection| detection.create_response) {
            self.answer_turn();
        }
    }

    /// Ends a turn by hand.
    pub(super) fn commit(&mut self) -> Result<(), Refusal> {
        let sound = self.ear.commit().map_err(|TooShort { buffered_ms }| {
            let message = format!(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms \
                 of audio, but buffer only has {buffered_ms}.00ms of audio."
            );
            Refusal::new("input_audio_buffer_commit_empty", message)
        })?;
        self.hear(sound);
        Ok(())
    }

    /// Makes an item of a turn's sound, and seeks its words.
    fn hear(&mut self, sound: Vec<i16>) {
        let turn = self.turn.take();
        let told = turn.as_ref().map(|turn| turn.told.clone()).unwrap_or_default();
        let item_id = turn.map_or_else(|| new_id("item"), |turn| turn.item_id);
        let previous_item_id = self.conversation.last_id();
        self.outbox.push(&ServerEvent::Committed(Committed {
            item_id: item_id.clone(),
            previous_item_id,
        }));
        let part = Content { kind: "input_audio".to_owned(), ..Content::default() };
        let item = Item {
            role: Some("user".to_owned()),
            content: Some(vec![part]),
            ..item(&item_id, ItemKind::Message, "completed")
        };
        // A new id at the end is always taken.
        if self.add_item(item, None).is_err() {
            return;
        }
        self.unheard += 1;
        let recognizer = self.recognizer.clone();
        let seconds = seconds_of(&sound);
        self.works.0.push(Box::pin(async move {
            let words = recognizer.words(sound).await;
            Done::Words { item_id, told, seconds, words }
        }));
    }

    /// Takes the words of a turn.
    pub(super) fn on_words(
        &mut self,
        item_id: &str,
        told: &str,
        seconds: f64,
        words: Result<String, HearError>,
    ) {
        self.unheard -= 1;
        match words {
            Ok(words) => self.tell_words(item_id, told, seconds, words),
            Err(error) => {
                tracing::warn!(%error, "a turn was not understood");
                self.tell_failure(item_id, &error);
            }
        }
        self.think();
    }

    fn tell_words(&mut self, item_id: &str, told: &str, seconds: f64, words: String) {
        let item = self.conversation.get_mut(item_id);
        let part = item.and_then(|item| item.content.as_mut()?.first_mut());
        if let Some(part) = part {
            part.transcript = Some(words.clone());
        }
        if !self.settings.transcribes() {
            return;
        }
        // Where guesses turn out wrong, only the whole text sets them right.
        if let Some(delta) = words.strip_prefix(told).filter(|delta| !delta.is_empty()) {
            self.tell_delta(item_id, delta);
        }
        let usage = Field::Value(json!({"type": "duration", "seconds": seconds}));
        self.outbox.push(&ServerEvent::TranscriptionCompleted(TranscriptionCompleted {
            item_id: item_id.to_owned(),
            content_index: 0,
            transcript: words,
            usage,
        }));
    }

    fn tell_failure(&mut self, item_id: &str, error: &HearError) {
        if self.settings.transcribes() {
            let error = ErrorBody {
                kind: "transcription_error".to_owned(),
                code: Some("audio_unintelligible".to_owned()),
                message: error.to_string(),
                ..ErrorBody::default()
            };
            let item_id = item_id.to_owned();
            self.outbox.push(&ServerEvent::TranscriptionFailed(TranscriptionFailed {
                item_id,
                content_index: 0,
                error,
            }));
        }
    }

    fn tell_delta(&mut self, item_id: &str, delta: &str) {
        self.outbox.push(&ServerEvent::TranscriptionDelta(TranscriptionDelta {
            item_id: item_id.to_owned(),
            content_index: 0,
            delta: delta.to_owned(),
        }));
    }

    /// Looks at unfinished speech, if the client wants to read along and nobody has to wait.
    fn guess(&mut self) {
        let is_wanted = self.settings.transcribes() && self.recognizer.is_idle();
        let Some(turn) = self.turn.as_mut().filter(|turn| is_wanted && !turn.is_guessing) else {
            return;
        };
        let Some(sound) = self.ear.unfinished() else { return };
        turn.is_guessing = true;
        let (item_id, sound) = (turn.item_id.clone(), sound.to_vec());
        let recognizer = self.recognizer.clone();
        self.works.0.push(Box::pin(async move {
            Done::Guess { item_id, words: recognizer.words(sound).await }
        }));
    }

    /// Takes a guess. What two guesses agree on is told; the newest word may be half a word.
    pub(super) fn on_guess(&mut self, item_id: &str, words: Result<String, HearError>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.item_id == item_id) else {
            return;
        };
        turn.is_guessing = false;
        let words = match words {
            Ok(words) => words,
            Err(error) => {
                tracing::debug!(%error, "no guess at unfinished speech");
                return;
            }
        };
        let agreed = agreement(&turn.guess, &words).to_owned();
        turn.guess = words;
        if let Some(delta) = agreed.strip_prefix(&turn.told).filter(|delta| !delta.is_empty()) {
            let delta = delta.to_owned();
            turn.told = agreed;
            self.tell_delta(item_id, &delta);
        }
    }
}

/// The words both guesses begin with, but for the newer one's last.
fn agreement<'a>(old: &str, new: &'a str) -> &'a str {
    let count = new.split(' ').zip(old.split(' ')).take_while(|(new, old)| new == old).count();
    let count = count.min(new.split(' ').count() - 1);
    let end = count.checked_sub(1).and_then(|last| new.match_indices(' ').nth(last));
    end.map_or("", |(end, _)| &new[..end])
}

#[expect(clippy::cast_precision_loss, reason = "a turn has few samples for a float")]
fn seconds_of(sound: &[i16]) -> f64 {
    sound.len() as f64 / f64::from(RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::local::recognizer::Recognizer;
    use crate::models::local::seats::Seats;
    use crate::models::local::voice::Voice;

    #[test]
    fn guesses_agree_on_their_first_words_and_never_on_the_last() {
        assert_eq!(agreement("Repeat after", "Repeat after me"), "Repeat after");
        assert_eq!(agreement("Repeat after me.", "Repeat after me, the"), "Repeat after");
        assert_eq!(agreement("Hello", "Hello"), "");
        assert_eq!(agreement("", "Hello there"), "");
        assert_eq!(agreement("a b c", "a b c"), "a b");
    }

    #[tokio::test]
    async fn what_two_guesses_agree_on_is_told_while_the_user_speaks() {
        let mut dialogue = speaking();
        let item_id = dialogue.turn.as_ref().unwrap().item_id.clone();
        for guess in ["The quick", "The quick brown fog", "The quick brown fox jumps"] {
            dialogue.on_done(Done::Guess { item_id: item_id.clone(), words: Ok(guess.into()) });
        }
        dialogue.end_turn(2000, vec![0; 16_000]);
        dialogue.on_done(Done::Words {
            item_id,
            told: "The quick brown".into(),
            seconds: 1.0,
            words: Ok("The quick brown fox.".into()),
        });
        let events = events(&mut dialogue);
        let texts = |field: &str| -> Vec<String> {
            events.iter().filter_map(|event| event[field].as_str()).map(str::to_owned).collect()
        };
        assert_eq!(texts("delta"), ["The quick", " brown", " fox."]);
        assert_eq!(texts("transcript"), ["The quick brown fox."]);
    }

    #[tokio::test]
    async fn a_turn_that_is_not_understood_is_told_and_ends_in_no_words() {
        let mut dialogue = speaking();
        let item_id = dialogue.turn.as_ref().unwrap().item_id.clone();
        dialogue.end_turn(2000, vec![0; 16_000]);
        let (told, words) = (String::new(), Err(HearError::Busy));
        dialogue.on_done(Done::Words { item_id, told, seconds: 1.0, words });
        let events = events(&mut dialogue);
        let failed = "conversation.item.input_audio_transcription.failed";
        assert!(events.iter().any(|event| event["type"] == failed), "{events:?}");
        let done = events.iter().find(|event| event["type"] == "response.done").unwrap();
        assert_eq!(done["response"]["output"], json!([]));
    }

    /// A session that transcribes, in the midst of a turn.
    fn speaking() -> Dialogue {
        let mut dialogue = Dialogue::new("local", Voice::Rms, Recognizer::deaf(), Seats::new(1));
        dialogue.on_text(
            r#"{"type":"session.update","session":{"type":"realtime",
                "audio":{"input":{"transcription":{"model":"x"}}}}}"#,
        );
        dialogue.begin_turn(0);
        dialogue
    }

    fn events(dialogue: &mut Dialogue) -> Vec<serde_json::Value> {
        let frames = std::iter::from_fn(|| dialogue.outbox.pop());
        frames.map(|frame| serde_json::from_str(&frame).unwrap()).collect()
    }
}
