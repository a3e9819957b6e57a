//! What the conversation is made of, in its order: so that another session can be told of it.
//!
//! Of the agent's words, only what was heard counts. A session is told by items of text, whose
//! ids are ours; what it has heard and said itself, it knows by items of its own.

use std::collections::VecDeque;

use crate::agent::{Cut, heard_words};
use crate::media::{Frame24k, ms_of_24k};
use crate::models::wire::{Content, Item, ItemKind, pcm_to_base64};

/// The chronicle.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    entries: VecDeque<Entry>,
    ids_made: u64,
}

/// One thing that was said or done.
#[derive(Debug)]
struct Entry {
    /// As the agent knows it; empty for what it has told itself.
    name: String,
    matter: Matter,
    /// Where it is known, the latest last.
    places: Vec<Place>,
}

#[derive(Debug)]
enum Matter {
    /// What somebody said; `None` until the words are there.
    Heard { text: Option<String>, sound: Vec<Frame24k> },
    /// What the agent said.
    Spoken { text: String, received_samples: u64, is_over: bool, is_cut: bool },
    /// A tool's call; told to others once its outcome is there.
    Call { call_id: String, tool: String, arguments: String, output: Option<String> },
    /// What the agent was told, or was told to know.
    Told { item: Box<Item>, bytes: usize },
}

/// An entry as a session knows it.
#[derive(Debug)]
struct Place {
    session: u32,
    id: String,
    /// Whether it is an item of text, told by us.
    is_told: bool,
    /// Of calls: whether the outcome was told.
    has_output: bool,
}

/// To be told to a session.
#[derive(Debug, PartialEq)]
pub(super) enum Telling {
    /// This item, after another or at the end.
    Create { previous_item_id: Option<String>, item: Box<Item> },
    /// This item is not in the conversation any more.
    Delete { item_id: String },
}

impl Chronicle {
    /// Adds what is told to the model.
    pub(super) fn tell(&mut self, item: Item) {
        let bytes = size_of(&item);
        self.push(String::new(), Matter::Told { item: Box::new(item), bytes }, Vec::new());
        self.trim();
    }

    /// A session has an item of its own: somebody has said, or is saying, something there.
    pub(super) fn on_item(&mut self, added: Added<'_>) {
        let Added { name, session, id, previous, is_heard } = added;
        if self.find(&name).is_some() || self.knows(session, id) {
            return;
        }
        let matter = if is_heard { Matter::heard() } else { Matter::spoken() };
        let place = Place::own(session, id);
        let after = previous.and_then(|previous| self.at(session, previous));
        let entry = Entry { name, matter, places: vec![place] };
        match after {
            Some(at) => self.entries.insert(at + 1, entry),
            None => self.entries.push_back(entry),
        }
    }

    /// A session has lost an item.
    pub(super) fn on_deleted(&mut self, session: u32, id: &str) {
        let is_it = |place: &Place| place.session == session && place.id == id && !place.is_told;
        self.entries.retain(|entry| !entry.places.iter().any(is_it));
    }

    /// The words of what somebody said.
    pub(super) fn on_heard(&mut self, source: Source<'_>, words: &str) {
        let entry = self.entry(source, Matter::heard);
        if let Matter::Heard { text, sound } = &mut entry.matter {
            *text = Some(words.to_owned());
            sound.clear();
        }
        self.trim();
    }

    /// Somebody was heard by a session that is lost, and was answered: what is left is a draft of
    /// the words, or else the sound.
    pub(super) fn on_left_over(&mut self, name: &str, draft: &str, left: Vec<Frame24k>) {
        for entry in &mut self.entries {
            if let Matter::Heard { sound, .. } = &mut entry.matter {
                sound.clear();
            }
        }
        let entry = self.find(name).map(|at| &mut self.entries[at]);
        if let Some(Entry { matter: Matter::Heard { text, sound }, .. }) = entry {
            match draft.trim() {
                "" => *sound = left,
                draft => *text = Some(draft.to_owned()),
            }
        }
    }

    /// It was not said, or will be said again.
    pub(super) fn remove(&mut self, name: &str) {
        self.entries.retain(|entry| entry.name != name);
    }

    /// The words of what the agent says.
    pub(super) fn on_words(&mut self, source: Source<'_>, words: &str, is_final: bool) {
        let entry = self.entry(source, Matter::spoken);
        if let Matter::Spoken { text, is_over, is_cut: false, .. } = &mut entry.matter {
            words.clone_into(text);
            *is_over |= is_final;
        }
        self.trim();
    }

    /// The sound of what the agent says.
    pub(super) fn on_audio(&mut self, source: Source<'_>, samples: &[i16]) {
        let entry = self.entry(source, Matter::spoken);
        if let Matter::Spoken { received_samples, .. } = &mut entry.matter {
            *received_samples += samples.len() as u64;
        }
    }

    /// The model has called a tool.
    pub(super) fn on_call(&mut self, source: Source<'_>, tool: &str, arguments: &str) {
        let call_id = source.id.to_owned();
        let (tool, arguments) = (tool.to_owned(), arguments.to_owned());
        self.entry(source, || Matter::Call { call_id, tool, arguments, output: None });
        self.trim();
    }

    /// What came of a call. False if the call is not known.
    pub(super) fn on_output(&mut self, name: &str, text: &str) -> bool {
        let entry = self.find(name).map(|at| &mut self.entries[at]);
        let Some(Entry { matter: Matter::Call { output, .. }, .. }) = entry else { return false };
        output.get_or_insert_with(|| text.to_owned());
        self.trim();
        true
    }

    /// Of what the agent said, only this was heard. Tells what each session must know that was
    /// told of it by us.
    pub(super) fn cut(
        &mut self,
        name: &str,
        end_ms: u64,
        sessions: &[u32],
    ) -> Vec<(u32, Vec<Telling>)> {
        let Some(at) = self.find(name) else { return Vec::new() };
        let Matter::Spoken { text, received_samples, is_over, is_cut } =
            &mut self.entries[at].matter
        else {
            return Vec::new();
        };
        let received_ms = ms_of_24k(*received_samples);
        if *is_cut || (end_ms > 0 && end_ms >= received_ms && *is_over) {
            return Vec::new();
        }
        let cut = Cut { heard_ms: end_ms, end_ms, received_ms, is_complete: *is_over };
        *text = heard_words(text, cut).to_owned();
        (*is_cut, *is_over) = (true, true);
        let is_left = !text.is_empty();
        let tellings = sessions.iter().map(|session| (*session, self.replace(at, *session)));
        let tellings = tellings.collect();
        if !is_left {
            self.entries.remove(at);
        }
        tellings
    }

    /// What was told of an entry is told anew, in the same place.
    fn replace(&mut self, at: usize, session: u32) -> Vec<Telling> {
        let places = &mut self.entries[at].places;
        let told = places.iter().position(|place| place.session == session && place.is_told);
        let Some(told) = told else { return Vec::new() };
        let mut tellings = vec![Telling::Delete { item_id: places.remove(told).id }];
        tellings.extend(self.tell_one(at, session));
        tellings
    }

    /// All that a session does not know yet, and could.
    pub(super) fn untold(&mut self, session: u32) -> Vec<Telling> {
        let mut tellings = Vec::new();
        for at in 0..self.entries.len() {
            tellings.extend(self.tell_one(at, session));
        }
        self.trim();
        tellings
    }

    /// Forgets all; what a session knows, it knows.
    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
    }

    /// The items by which a session learns of an entry, if it does not know of it.
    fn tell_one(&mut self, at: usize, session: u32) -> Vec<Telling> {
        let entry = &mut self.entries[at];
        if let Some(place) = entry.places.iter_mut().find(|place| place.session == session) {
            return place.missing_output(&entry.matter);
        }
        let Some(mut items) = entry.matter.items() else { return Vec::new() };
        let is_last = self.entries.range(at..).all(|later| later.place(session).is_none());
        let mut previous = (!is_last).then(|| self.before(at, session));
        let mut tellings = Vec::new();
        let mut place = Place { session, id: String::new(), is_told: true, has_output: true };
        self.ids_made += 1;
        for (number, item) in items.iter_mut().enumerate() {
            let base = format!("cb_{}", self.ids_made);
            place.id = if number == 0 { base.clone() } else { format!("{base}_{number}") };
            item.id = Some(place.id.clone());
            if item.call_id.is_some() {
                item.call_id = Some(base);
            }
            let item = Box::new(std::mem::take(item));
            tellings.push(Telling::Create { previous_item_id: previous.take(), item });
            previous = (!is_last).then(|| place.id.clone());
        }
        self.entries[at].places.push(place);
        tellings
    }

    /// The last item before an entry that a session knows; its beginning if there is none.
    fn before(&self, at: usize, session: u32) -> String {
        let known = self.entries.range(..at).rev().find_map(|entry| entry.place(session));
        known.map_or_else(|| "root".to_owned(), |place| place.id.clone())
    }

    fn entry(&mut self, source: Source<'_>, make: impl FnOnce() -> Matter) -> &mut Entry {
        let at = self.find(source.name).unwrap_or_else(|| {
            let matter = make();
            // A call's id is not the id of its item, after which others could be put.
            let id = if matches!(matter, Matter::Call { .. }) { "" } else { source.id };
            self.push(source.name.to_owned(), matter, vec![Place::own(source.session, id)]);
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }

    fn push(&mut self, name: String, matter: Matter, places: Vec<Place>) {
        self.entries.push_back(Entry { name, matter, places });
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().rposition(|entry| !name.is_empty() && entry.name == name)
    }

    /// The entry that a session knows by this id.
    fn at(&self, session: u32, id: &str) -> Option<usize> {
        let is_it = |place: &Place| place.session == session && place.id == id;
        self.entries.iter().rposition(|entry| entry.places.iter().any(is_it))
    }

    fn knows(&self, session: u32, id: &str) -> bool {
        self.at(session, id).is_some()
    }

    /// Forgets the oldest of what is too much.
    fn trim(&mut self) {
        let mut left = IMAGES_BYTES_MAX;
        for at in (0..self.entries.len()).rev() {
            let bytes = self.entries[at].matter.image_bytes();
            if bytes > left {
                self.entries.remove(at);
            } else {
                left -= bytes;
            }
        }
        let mut bytes = 0;
        let fits = self.entries.iter().rev().take(ENTRIES_MAX).take_while(|entry| {
            bytes += entry.matter.bytes();
            bytes <= BYTES_MAX
        });
        // The latest is kept, however long it is.
        let kept = fits.count().max(1).min(self.entries.len());
        self.entries.drain(..self.entries.len() - kept);
    }
}

/// An item that a session has by itself.
#[derive(Debug)]
pub(super) struct Added<'e> {
    /// As the agent knows it.
    pub(super) name: String,
    pub(super) session: u32,
    pub(super) id: &'e str,
    pub(super) previous: Option<&'e str>,
    /// Somebody else said it; if not, the agent did.
    pub(super) is_heard: bool,
}

/// Where something comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'e> {
    /// As the agent knows it.
    pub(super) name: &'e str,
    pub(super) session: u32,
    /// As the session knows it.
    pub(super) id: &'e str,
}

impl Entry {
    fn place(&self, session: u32) -> Option<&Place> {
        self.places.iter().find(|place| place.session == session && place.stands_in_order())
    }
}

impl Place {
    fn own(session: u32, id: &str) -> Self {
        Self { session, id: id.to_owned(), is_told: false, has_output: false }
    }

    /// Whether its id is an item's, after which others can be put.
    fn stands_in_order(&self) -> bool {
        !self.id.is_empty()
    }

    /// What a session's own call lacks.
    fn missing_output(&mut self, matter: &Matter) -> Vec<Telling> {
        let Matter::Call { call_id, output: Some(output), .. } = matter else { return Vec::new() };
        if std::mem::replace(&mut self.has_output, true) {
            return Vec::new();
        }
        let item = Box::new(Item::function_call_output(call_id, output));
        vec![Telling::Create { previous_item_id: None, item }]
    }
}

impl Matter {
    const fn heard() -> Self {
        Self::Heard { text: None, sound: Vec::new() }
    }

    const fn spoken() -> Self {
        Self::Spoken { text: String::new(), received_samples: 0, is_over: false, is_cut: false }
    }

    /// The items that tell it to a session that does not know it, once there is something to tell.
    fn items(&self) -> Option<Vec<Item>> {
        let item = match self {
            Self::Heard { text: Some(text), .. } if !text.trim().is_empty() => {
                Item::input_text("user", text)
            }
            Self::Heard { text: None, sound } if !sound.is_empty() => input_audio(sound),
            Self::Spoken { text, is_over: true, .. } if !text.trim().is_empty() => {
                Item::output_text(text)
            }
            Self::Call { call_id, tool, arguments, output: Some(output) } => {
                let call = Item {
                    kind: ItemKind::FunctionCall,
                    call_id: Some(call_id.clone()),
                    name: Some(tool.clone()),
                    arguments: Some(arguments.clone()),
                    ..Item::default()
                };
                return Some(vec![call, Item::function_call_output(call_id, output)]);
            }
            Self::Told { item, .. } => (**item).clone(),
            Self::Heard { .. } | Self::Spoken { .. } | Self::Call { .. } => return None,
        };
        Some(vec![item])
    }

    /// How much text it is.
    fn bytes(&self) -> usize {
        match self {
            Self::Heard { text, .. } => text.as_ref().map_or(0, String::len),
            Self::Spoken { text, .. } => text.len(),
            Self::Call { tool, arguments, output, .. } => {
                tool.len() + arguments.len() + output.as_ref().map_or(0, String::len)
            }
            Self::Told { item, .. } if is_image(item) => 0,
            Self::Told { bytes, .. } => *bytes,
        }
    }

    fn image_bytes(&self) -> usize {
        match self {
            Self::Told { item, bytes } if is_image(item) => *bytes,
            Self::Told { .. } | Self::Heard { .. } | Self::Spoken { .. } | Self::Call { .. } => 0,
        }
    }
}

/// What somebody said, as sound that nobody is to answer.
fn input_audio(sound: &[Frame24k]) -> Item {
    let samples: Vec<i16> = sound.iter().flat_map(|frame| frame.iter().copied()).collect();
    let part = Content {
        kind: "input_audio".to_owned(),
        audio: Some(pcm_to_base64(&samples)),
        ..Content::default()
    };
    Item {
        kind: ItemKind::Message,
        role: Some("user".to_owned()),
        content: Some(vec![part]),
        ..Item::default()
    }
}

fn size_of(item: &Item) -> usize {
    let parts = item.content.iter().flatten();
    let texts = parts.flat_map(|part| [part.text.as_ref(), part.image_url.as_ref()]);
    texts.flatten().map(String::len).sum()
}

fn is_image(item: &Item) -> bool {
    item.content.iter().flatten().any(|part| part.image_url.is_some())
}

/// What another session is told at most, in bytes of text; the oldest goes first.
const BYTES_MAX: usize = 64 * 1024;

/// What it is shown at most, in bytes of `data:` URLs.
const IMAGES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Entries that are kept.
const ENTRIES_MAX: usize = 256;
