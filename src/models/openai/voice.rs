//! What the model says: sound and words by utterance, and what of it is still wanted.
//!
//! An utterance is an item of the conversation. An answer may hold several.

use std::collections::VecDeque;

use super::recent::Recent;
use crate::agent::ModelEvent;
use crate::ids::UtteranceId;
use crate::media::ms_of_24k;
use crate::models::ModelItem;
use crate::models::wire::{AudioDelta, PartDone, PcmDecoder, TextDelta};
use crate::privacy::Pii;

/// The utterances of late.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Whether words that come without sound are kept back until it is known what they are.
    speaks: bool,
    utterances: Recent<Utterance, UTTERANCES_KEPT>,
    items: VecDeque<ModelItem>,
}

/// One item of the model's.
#[derive(Debug, Default)]
struct Utterance {
    item_id: String,
    response_id: String,
    /// Which part of the item is the sound.
    content_index: u32,
    received_samples: u64,
    decoder: PcmDecoder,
    text: String,
    sound_is_complete: bool,
    words: Telling,
    /// Cut short in the conversation: nothing of it is wanted any more.
    is_cut: bool,
}

/// What words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Of sound.
    Spoken,
    /// In its place.
    Written,
}

/// Where words belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'e> {
    pub(super) item_id: &'e str,
    pub(super) response_id: &'e str,
}

/// How an utterance is to be cut short in the server's conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing of it was heard: it was never said.
    Delete,
    /// It was heard up to here.
    Keep {
        /// The part that is its sound.
        content_index: u32,
        /// How much of it stays.
        audio_end_ms: u64,
    },
}

/// How far an utterance's words were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telling {
    /// All that have come.
    #[default]
    SoFar,
    /// None: they came in the place of sound.
    Withheld,
    /// All there will be.
    Complete,
}

/// Words that the model has written where it should have spoken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unspoken {
    /// The items they are in.
    pub(super) items: Vec<String>,
    /// The words.
    pub(super) text: String,
}

impl Voice {
    /// Nothing was said yet. A voice that `speaks` has sound to all its words.
    pub(super) fn new(speaks: bool) -> Self {
        Self { speaks, ..Self::default() }
    }

    /// Sound. False if it is no sound at all.
    pub(super) fn on_audio(&mut self, event: &AudioDelta<'_>) -> bool {
        let Some(utterance) = self.wanted(&event.item_id, &event.response_id) else {
            return true;
        };
        let Ok(samples) = utterance.decoder.decode(&event.delta) else {
            return false;
        };
        if !samples.is_empty() {
            utterance.content_index = event.content_index;
            utterance.received_samples += samples.len() as u64;
            let is_new = utterance.words == Telling::Withheld;
            let words = is_new.then(|| utterance.release());
            let utterance = UtteranceId::new(&*event.item_id);
            self.items.extend(words);
            self.items.push_back(ModelItem::Audio { utterance, samples });
        }
        true
    }

    /// All of an utterance's sound has come.
    pub(super) fn on_audio_done(&mut self, event: &PartDone) {
        if let Some(utterance) = self.wanted(&event.item_id, &event.response_id) {
            let item = utterance.complete_sound();
            self.items.extend(item);
        }
    }

    /// More words, of sound or in its place.
    pub(super) fn on_words(&mut self, event: &TextDelta, kind: Words) {
        let withholds = self.speaks && kind == Words::Written;
        let Some(utterance) = self.wanted(&event.item_id, &event.response_id) else { return };
        if event.delta.is_empty() || utterance.words == Telling::Complete {
            return;
        }
        utterance.text.push_str(&event.delta);
        if withholds && utterance.received_samples == 0 {
            utterance.words = Telling::Withheld;
        } else {
            let item = utterance.release();
            self.items.push_back(item);
        }
    }

    /// All the words. A server that does not repeat them means those that have come.
    pub(super) fn on_text(&mut self, part: Part<'_>, text: Option<String>, kind: Words) {
        let withholds = self.speaks && kind == Words::Written;
        let Some(utterance) = self.wanted(part.item_id, part.response_id) else { return };
        if utterance.words == Telling::Complete {
            return;
        }
        utterance.text = text.unwrap_or_else(|| std::mem::take(&mut utterance.text));
        if withholds && utterance.received_samples == 0 {
            utterance.words = Telling::Withheld;
        } else {
            let item = utterance.complete_text();
            self.items.extend(item);
        }
    }

    /// The words of an answer that has no sound at all, if it should have.
    pub(super) fn unspoken(&mut self, response_id: &str) -> Option<Unspoken> {
        let (mut items, mut texts) = (Vec::new(), Vec::new());
        let ours = |utterance: &Utterance| utterance.response_id == response_id;
        for utterance in self.utterances.filter(ours).filter(|utterance| !utterance.is_cut) {
            if utterance.words != Telling::Withheld {
                return None;
            }
            items.push(utterance.item_id.clone());
            texts.push(utterance.text.clone());
        }
        (!items.is_empty()).then(|| Unspoken { items, text: texts.join("\n") })
    }

    /// Drops an utterance of which nothing was told.
    pub(super) fn forget(&mut self, item_id: &str) {
        if let Some(utterance) = self.utterances.find(|known| known.item_id == item_id) {
            utterance.is_cut = true;
        }
    }

    /// Whether something of an answer was told: words, or sound.
    pub(super) fn has_told(&mut self, response_id: &str) -> bool {
        let ours = |utterance: &Utterance| utterance.response_id == response_id;
        let was_told = |utterance: &mut Utterance| {
            let is_withheld = utterance.words == Telling::Withheld;
            utterance.received_samples > 0 || !(utterance.text.is_empty() || is_withheld)
        };
        self.utterances.filter(ours).any(was_told)
    }

    /// Nothing more will come: ends all that is not over.
    pub(super) fn complete_all(&mut self) {
        for utterance in self.utterances.filter(|utterance| !utterance.is_cut) {
            self.items.extend(utterance.complete_sound());
            self.items.extend(utterance.complete_text());
        }
    }

    /// An answer is over: so are its utterances, whether the server has said so or not.
    ///
    /// Returns whether there were words in it and no sound.
    pub(super) fn on_response_done(&mut self, response_id: &str) -> bool {
        let (mut words, mut sound) = (false, false);
        let ours = |utterance: &Utterance| utterance.response_id == response_id;
        for utterance in self.utterances.filter(ours).filter(|utterance| !utterance.is_cut) {
            words |= !utterance.text.is_empty();
            sound |= utterance.received_samples > 0;
            self.items.extend(utterance.complete_sound());
            self.items.extend(utterance.complete_text());
        }
        words && !sound
    }

    /// Cuts an utterance to what was heard of it, and says how the server is to be told.
    pub(super) fn cut(&mut self, item_id: &str, heard_ms: u64) -> Option<Cut> {
        let utterance = self
            .utterances
            .find_or_push(|known| known.item_id == item_id, || Utterance::new(item_id, ""));
        let received_ms = ms_of_24k(utterance.received_samples);
        let was_heard_out = utterance.sound_is_complete && heard_ms >= received_ms;
        if utterance.is_cut || (heard_ms > 0 && (received_ms == 0 || was_heard_out)) {
            return None;
        }
        utterance.is_cut = true;
        Some(match heard_ms.min(received_ms) {
            0 => Cut::Delete,
            audio_end_ms => Cut::Keep { content_index: utterance.content_index, audio_end_ms },
        })
    }

    /// What there is for the agent.
    pub(super) fn poll_item(&mut self) -> Option<ModelItem> {
        self.items.pop_front()
    }

    /// The utterance of an event, unless it is not wanted any more.
    fn wanted(&mut self, item_id: &str, response_id: &str) -> Option<&mut Utterance> {
        let utterance = self.utterances.find_or_push(
            |known| known.item_id == item_id,
            || Utterance::new(item_id, response_id),
        );
        Some(utterance).filter(|utterance| !utterance.is_cut)
    }
}

impl Utterance {
    fn new(item_id: &str, response_id: &str) -> Self {
        let (item_id, response_id) = (item_id.to_owned(), response_id.to_owned());
        Self { item_id, response_id, ..Self::default() }
    }

    fn id(&self) -> UtteranceId {
        UtteranceId::new(self.item_id.as_str())
    }

    /// Tells the words so far.
    fn release(&mut self) -> ModelItem {
        self.words = Telling::SoFar;
        self.words(false)
    }

    fn words(&self, is_final: bool) -> ModelItem {
        let text = Pii::new(self.text.clone());
        ModelItem::Event(ModelEvent::Words { utterance: self.id(), text, is_final })
    }

    fn complete_sound(&mut self) -> Option<ModelItem> {
        if self.sound_is_complete || self.received_samples == 0 {
            return None;
        }
        self.sound_is_complete = true;
        Some(ModelItem::AudioDone { utterance: self.id() })
    }

    fn complete_text(&mut self) -> Option<ModelItem> {
        if self.words == Telling::Complete || self.text.is_empty() {
            return None;
        }
        self.words = Telling::Complete;
        Some(self.words(true))
    }
}

/// Utterances that may still be cut, or still get sound.
const UTTERANCES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::wire::{output_audio_delta, pcm_to_base64};

    #[test]
    fn an_utterance_is_cut_to_what_was_heard_and_never_to_more_than_came() {
        let mut voice = voice_with("u1", 24_000);
        let keep = |audio_end_ms| Some(Cut::Keep { content_index: 0, audio_end_ms });
        assert_eq!(voice.cut("u1", 400), keep(400));
        assert_eq!(voice.cut("u1", 400), None);
        assert_eq!(voice_with("u1", 24_000).cut("u1", 1_085), keep(1_000));
    }

    #[test]
    fn an_utterance_of_which_nothing_was_heard_is_deleted() {
        assert_eq!(voice_with("u1", 24_000).cut("u1", 0), Some(Cut::Delete));
        assert_eq!(voice_with("u1", 24_000).cut("u2", 0), Some(Cut::Delete));
    }

    #[test]
    fn an_utterance_that_was_heard_out_is_left_alone() {
        let mut voice = voice_with("u1", 24_000);
        voice.on_audio_done(&PartDone { item_id: "u1".into(), ..PartDone::default() });
        assert_eq!(voice.cut("u1", 1_000), None);
        assert_eq!(voice.cut("unknown", 500), None);
    }

    #[test]
    fn sound_is_counted_anew_for_each_utterance() {
        let mut voice = voice_with("u1", 48_000);
        voice.on_audio(&output_audio_delta("r1", "u2", &vec![0; 12_000]));
        assert_eq!(voice.cut("u2", 900), Some(Cut::Keep { content_index: 0, audio_end_ms: 500 }));
    }

    #[test]
    fn what_was_cut_is_not_heard_again() {
        let mut voice = voice_with("u1", 480);
        voice.cut("u1", 10);
        while voice.poll_item().is_some() {}
        voice.on_audio(&output_audio_delta("r1", "u1", &[0; 480]));
        voice.on_response_done("r1");
        assert_eq!(voice.poll_item(), None);
    }

    #[test]
    fn a_sample_may_lie_in_two_deltas() {
        let mut voice = Voice::default();
        let whole = pcm_to_base64(&[1, -2]);
        let bytes = base64_simd::STANDARD.decode_to_vec(whole).unwrap();
        for part in [&bytes[..3], &bytes[3..], &[]] {
            let delta = base64_simd::STANDARD.encode_to_string(part);
            let delta =
                AudioDelta { item_id: "u".into(), delta: delta.into(), ..Default::default() };
            assert!(voice.on_audio(&delta));
        }
        let samples: Vec<i16> = std::iter::from_fn(|| voice.poll_item())
            .flat_map(|item| match item {
                ModelItem::Audio { samples, .. } => samples,
                other @ (ModelItem::Event(_) | ModelItem::AudioDone { .. }) => {
                    panic!("not sound: {other:?}")
                }
            })
            .collect();
        assert_eq!(samples, [1, -2]);
    }

    #[test]
    fn sound_that_is_no_base64_is_told() {
        let delta = AudioDelta { item_id: "u".into(), delta: "***".into(), ..Default::default() };
        assert!(!Voice::default().on_audio(&delta));
    }

    fn voice_with(item_id: &str, samples: usize) -> Voice {
        let mut voice = Voice::default();
        voice.on_audio(&output_audio_delta("r1", item_id, &vec![0; samples]));
        voice
    }
}
