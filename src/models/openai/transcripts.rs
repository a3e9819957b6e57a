//! The words of others, in the order in which they were said and not in that in which they came.
//!
//! A server writes down turns beside the model, several at a time, and a short one is done before
//! the long one in front of it. Items tell their order by `previous_item_id`. A turn's final words
//! wait for those of the turns before it; words that may still change never wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::agent::ModelEvent;
use crate::ids::UtteranceId;
use crate::privacy::Pii;

/// The items of late in their order, and what is known of their words.
#[derive(Debug, Default)]
pub(super) struct Transcripts {
    items: VecDeque<Item>,
    events: VecDeque<ModelEvent>,
    /// Whether nothing waits any more: the session is at its end.
    is_released: bool,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A turn of somebody else, of which there will be words.
    Heard,
    /// Something that is only stood behind: what the agent said, a tool's call.
    Other,
}

#[derive(Debug)]
struct Item {
    id: String,
    /// The item before it, if the server has said so.
    previous: Option<String>,
    /// The words so far.
    draft: String,
    stage: Stage,
}

#[derive(Debug, PartialEq)]
enum Stage {
    /// Nothing but words are known of it.
    Unplaced,
    /// It is in the conversation, and nothing says that there will be words.
    Wordless,
    /// It is over, and those behind it wait for its words.
    Awaited,
    /// Its words are there. They wait for those of turns before it, but not beyond this.
    Held { text: String, until: Instant },
    /// It was waited for long enough. Its words may come whenever they like.
    Late,
    /// All its words were told.
    Told,
}

impl Transcripts {
    /// An item is in the conversation, behind another if the server says so.
    pub(super) fn on_item(&mut self, id: &str, previous: Option<&str>, kind: Kind) {
        if id.is_empty() {
            return;
        }
        let at = self.find_or_push(id);
        let item = &mut self.items[at];
        item.stage = match (std::mem::replace(&mut item.stage, Stage::Told), kind) {
            (Stage::Unplaced | Stage::Wordless, Kind::Heard) if self.is_released => Stage::Late,
            (Stage::Unplaced | Stage::Wordless, Kind::Heard) => Stage::Awaited,
            (Stage::Unplaced, Kind::Other) => Stage::Wordless,
            (known, _) => known,
        };
        if item.previous.is_none() {
            item.previous = previous.map(ToOwned::to_owned);
            self.put_in_order(at);
        }
        self.trim();
        self.tell_ready();
    }

    /// A turn in which nobody spoke: there may be no words of it, and nobody waits for them.
    pub(super) fn on_silence(&mut self, id: &str) {
        if id.is_empty() {
            return;
        }
        let at = self.find_or_push(id);
        let stage = &mut self.items[at].stage;
        if matches!(stage, Stage::Unplaced | Stage::Wordless | Stage::Awaited) {
            *stage = Stage::Late;
        }
        self.trim();
        self.tell_ready();
    }

    /// More of the words.
    pub(super) fn on_words(&mut self, id: &str, delta: &str) {
        if !delta.is_empty() {
            self.revise(id, |draft| draft.push_str(delta));
        }
    }

    /// All of the words so far, earlier ones perhaps corrected.
    pub(super) fn on_draft(&mut self, id: &str, text: String) {
        if self.draft(id) != text {
            self.revise(id, |draft| *draft = text);
        }
    }

    /// All of the words; none at all is an answer too. `None` if no more will come: those there
    /// are must do.
    pub(super) fn on_final(&mut self, id: &str, text: Option<String>, now: Instant) {
        let at = self.find_or_push(id);
        let item = &mut self.items[at];
        match item.stage {
            // Said twice, it counts once.
            Stage::Held { .. } | Stage::Told => return,
            Stage::Awaited => {
                let text = text.unwrap_or_else(|| std::mem::take(&mut item.draft));
                item.stage = Stage::Held { text, until: now + HOLD_MAX };
            }
            // Of what has no known place, nothing says that it comes too early.
            Stage::Unplaced | Stage::Wordless | Stage::Late => {
                let text = text.unwrap_or_else(|| std::mem::take(&mut item.draft));
                item.stage = Stage::Held { text, until: now };
                self.events.extend(item.tell());
            }
        }
        self.trim();
        self.tell_ready();
    }

    /// The words of a turn so far.
    pub(super) fn draft(&self, id: &str) -> &str {
        self.items.iter().find(|item| item.id == id).map_or("", |item| &item.draft)
    }

    /// Lets go of everything, in order, and holds nothing any more.
    pub(super) fn release(&mut self) {
        self.is_released = true;
        for item in &mut self.items {
            if item.stage == Stage::Awaited {
                item.stage = Stage::Late;
            }
            self.events.extend(item.tell());
        }
    }

    /// What there is to tell.
    pub(super) fn poll_event(&mut self) -> Option<ModelEvent> {
        self.events.pop_front()
    }

    /// When words have waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.items.iter().filter_map(Item::held_until).min()
    }

    /// Waits no longer for the words of turns that others have waited for long enough. What there
    /// is of them must do; where there is nothing, all may still come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let is_due = |item: &Item| item.held_until().is_some_and(|until| until <= now);
        let Some(last) = self.items.iter().rposition(is_due) else { return };
        for item in self.items.range_mut(..last).filter(|item| item.stage == Stage::Awaited) {
            item.stage = match std::mem::take(&mut item.draft) {
                draft if draft.is_empty() => Stage::Late,
                text => Stage::Held { text, until: now },
            };
        }
        self.tell_ready();
    }

    /// Changes words that may still change, and tells them.
    fn revise(&mut self, id: &str, change: impl FnOnce(&mut String)) {
        let at = self.find_or_push(id);
        let item = &mut self.items[at];
        if !matches!(item.stage, Stage::Held { .. } | Stage::Told) {
            change(&mut item.draft);
            let told = transcript(&item.id, item.draft.clone(), false);
            self.events.push_back(told);
        }
        self.trim();
    }

    /// Tells what waits for nobody.
    fn tell_ready(&mut self) {
        for item in &mut self.items {
            if item.stage == Stage::Awaited {
                break;
            }
            self.events.extend(item.tell());
        }
    }

    fn find_or_push(&mut self, id: &str) -> usize {
        let known = self.items.iter().rposition(|item| item.id == id);
        known.unwrap_or_else(|| {
            let (id, draft) = (id.to_owned(), String::new());
            self.items.push_back(Item { id, previous: None, draft, stage: Stage::Unplaced });
            self.items.len() - 1
        })
    }

    /// Puts an item behind the one before it; failing that, before the one behind it.
    fn put_in_order(&mut self, at: usize) {
        let Some(item) = self.items.remove(at) else { return };
        let place_of = |id: &str| self.items.iter().position(|other| other.id == id);
        let behind = item.previous.as_deref().and_then(place_of).map(|before| before + 1);
        let before = || {
            let is_next = |other: &Item| other.previous.as_deref() == Some(item.id.as_str());
            self.items.iter().position(is_next)
        };
        let place = behind.or_else(before).unwrap_or(at);
        self.items.insert(place, item);
    }

    fn trim(&mut self) {
        while self.items.len() > ITEMS_KEPT {
            let oldest = self.items.pop_front();
            self.events.extend(oldest.and_then(|mut item| item.tell()));
        }
    }
}

impl Item {
    fn held_until(&self) -> Option<Instant> {
        match self.stage {
            Stage::Held { until, .. } => Some(until),
            Stage::Unplaced | Stage::Wordless | Stage::Awaited | Stage::Late | Stage::Told => None,
        }
    }

    /// The words that were held, once.
    fn tell(&mut self) -> Option<ModelEvent> {
        let Stage::Held { text, .. } = &mut self.stage else { return None };
        let text = std::mem::take(text);
        self.stage = Stage::Told;
        self.draft = String::new();
        Some(transcript(&self.id, text, true))
    }
}

fn transcript(item_id: &str, text: String, is_final: bool) -> ModelEvent {
    ModelEvent::Transcript { utterance: UtteranceId::new(item_id), text: Pii::new(text), is_final }
}

/// How long words wait for those of an earlier turn: some servers lose some.
const HOLD_MAX: Duration = Duration::from_secs(3);

/// Items of which something may still come. The oldest makes room.
const ITEMS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn finals_come_in_the_order_of_the_conversation() {
        let mut scene = Scene::new();
        scene.turns(&["u1", "u2"]);
        scene.final_words("u2", "two");
        assert_eq!(scene.told(), [""; 0]);
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u1: one.", "u2: two."]);
    }

    #[test]
    fn the_order_is_the_chains_and_not_that_of_arrival() {
        let mut scene = Scene::new();
        scene.item("u2", Some("a1"), Kind::Heard);
        scene.item("a1", Some("u1"), Kind::Other);
        scene.item("u1", None, Kind::Heard);
        scene.final_words("u2", "two");
        assert_eq!(scene.told(), [""; 0]);
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u1: one.", "u2: two."]);
    }

    #[test]
    fn a_place_told_late_is_taken_all_the_same() {
        let mut scene = Scene::new();
        scene.item("u2", None, Kind::Heard);
        scene.item("u1", None, Kind::Heard);
        scene.item("u2", Some("u1"), Kind::Heard);
        scene.final_words("u2", "two");
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u1: one.", "u2: two."]);
    }

    #[test]
    fn a_failure_settles_a_turn_with_what_there_was() {
        let mut scene = Scene::new();
        scene.turns(&["u1", "u2"]);
        scene.words.on_words("u1", "on");
        scene.final_words("u2", "two");
        scene.words.on_final("u1", None, scene.now);
        assert_eq!(scene.told(), ["u1: on…", "u1: on.", "u2: two."]);
    }

    #[test]
    fn words_wait_three_seconds_and_then_go_out_in_order() {
        let mut scene = Scene::new();
        scene.turns(&["u1", "u2", "u3"]);
        scene.words.on_words("u2", "tw");
        scene.final_words("u3", "three");
        assert_eq!(scene.told(), ["u2: tw…"]);
        assert_eq!(scene.words.poll_timeout(), Some(scene.now + HOLD_MAX));
        scene.pass(HOLD_MAX);
        assert_eq!(scene.told(), ["u2: tw.", "u3: three."]);
        assert_eq!(scene.words.poll_timeout(), None);
    }

    #[test]
    fn the_words_of_a_turn_that_was_given_up_are_better_late_than_never() {
        let mut scene = Scene::new();
        scene.turns(&["u1", "u2"]);
        scene.final_words("u2", "two");
        scene.pass(HOLD_MAX);
        scene.final_words("u1", "one");
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u2: two.", "u1: one."]);
    }

    #[test]
    fn words_that_may_still_change_never_wait() {
        let mut scene = Scene::new();
        scene.turns(&["u1"]);
        scene.words.on_words("u2", "t");
        scene.words.on_words("u2", "wo");
        assert_eq!(scene.told(), ["u2: t…", "u2: two…"]);
    }

    #[test]
    fn cumulative_words_replace_those_before() {
        let mut scene = Scene::new();
        scene.words.on_draft("u1", "I scream".to_owned());
        scene.words.on_draft("u1", "I scream".to_owned());
        scene.words.on_draft("u1", "Ice cream".to_owned());
        scene.words.on_final("u1", None, scene.now);
        assert_eq!(scene.told(), ["u1: I scream…", "u1: Ice cream…", "u1: Ice cream."]);
    }

    #[test]
    fn what_comes_after_the_final_words_is_dropped() {
        let mut scene = Scene::new();
        scene.turns(&["u0", "u1"]);
        scene.final_words("u1", "one");
        scene.words.on_words("u1", " more");
        scene.final_words("u1", "one again");
        scene.final_words("u0", "");
        scene.words.on_words("u1", " more");
        scene.final_words("u1", "one again");
        assert_eq!(scene.told(), ["u0: .", "u1: one."]);
    }

    #[test]
    fn silence_is_not_waited_for() {
        let mut scene = Scene::new();
        scene.words.on_silence("idle");
        scene.turns(&["idle", "u1"]);
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u1: one."]);
    }

    #[test]
    fn a_turn_that_turns_out_to_be_silence_lets_others_pass() {
        let mut scene = Scene::new();
        scene.turns(&["idle", "u1"]);
        scene.final_words("u1", "one");
        scene.words.on_silence("idle");
        assert_eq!(scene.told(), ["u1: one."]);
    }

    #[test]
    fn words_without_a_known_place_wait_for_nobody() {
        let mut scene = Scene::new();
        scene.turns(&["u1"]);
        scene.final_words("stranger", "hello");
        assert_eq!(scene.told(), ["stranger: hello."]);
    }

    #[test]
    fn a_released_session_holds_nothing() {
        let mut scene = Scene::new();
        scene.turns(&["u1", "u2"]);
        scene.final_words("u2", "two");
        scene.words.release();
        scene.turns(&["u3", "u4"]);
        scene.final_words("u4", "four");
        scene.final_words("u1", "one");
        assert_eq!(scene.told(), ["u2: two.", "u4: four.", "u1: one."]);
    }

    #[test]
    fn the_memory_of_items_is_bounded() {
        let mut scene = Scene::new();
        scene.turns(&["lost", "u1"]);
        scene.final_words("u1", "one");
        for number in 0..ITEMS_KEPT {
            scene.item(&format!("a{number}"), None, Kind::Other);
        }
        assert_eq!(scene.words.items.len(), ITEMS_KEPT);
        assert_eq!(scene.told(), ["u1: one."]);
    }

    struct Scene {
        words: Transcripts,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { words: Transcripts::default(), now: clock::now() }
        }

        fn item(&mut self, id: &str, previous: Option<&str>, kind: Kind) {
            self.words.on_item(id, previous, kind);
        }

        fn turns(&mut self, ids: &[&str]) {
            let mut previous = None;
            for id in ids {
                self.item(id, previous, Kind::Heard);
                previous = Some(*id);
            }
        }

        fn final_words(&mut self, id: &str, text: &str) {
            self.words.on_final(id, Some(text.to_owned()), self.now);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.words.handle_timeout(self.now);
        }

        fn told(&mut self) -> Vec<String> {
            let tell = |event| {
                let ModelEvent::Transcript { utterance, text, is_final } = event else {
                    panic!("not a transcript: {event:?}");
                };
                let end = if is_final { "." } else { "…" };
                format!("{}: {}{end}", utterance.as_str(), text.expose())
            };
            std::iter::from_fn(|| self.words.poll_event()).map(tell).collect()
        }
    }
}
