//! The sound of late: kept until what was said in it is safe, so that another server can hear it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::media::{FRAME_MS, Frame24k};

/// The tape. Frames are numbered from the first that was ever heard.
#[derive(Debug)]
pub(super) struct Tape {
    frames: VecDeque<Frame24k>,
    /// The number of the oldest frame that is kept.
    first: u64,
    turns: Vec<Heard>,
    /// Whether the server says when a turn is over, or we do.
    by_server: bool,
    /// Whether the words of a turn are told.
    expects_words: bool,
    /// From here on, the server has sound that no turn was made of; where we end turns.
    buffered: u64,
    /// Whether there is a server that hears.
    is_listening: bool,
    /// When the server has last given a sign of life.
    alive: u64,
    /// While no server hears: the first frame that none can have understood.
    unheard: Option<u64>,
    dropped: u64,
}

/// A participant's turn whose words are not safe yet.
#[derive(Debug)]
struct Heard {
    /// As the agent knows it. `None` if it is still to be heard, by another server.
    name: Option<String>,
    from: u64,
    /// The frame after its last, and when it was over.
    over: Option<(u64, Instant)>,
    /// Whether an answer to it was begun.
    is_answered: bool,
}

/// A turn of which a lost server has not told the words.
#[derive(Debug)]
pub(super) struct Lost {
    /// As the agent knows it.
    pub(super) name: String,
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// What becomes of a turn that a lost server has heard.
#[derive(Debug)]
pub(super) enum Fate {
    /// Another will hear it as if it were said now.
    HeardAgain,
    /// It was answered; this is its sound.
    Sound(Vec<Frame24k>),
}

/// What another server is to hear first, in this order.
#[derive(Debug, Default)]
pub(super) struct Rewound {
    /// The number of the first frame.
    pub(super) from: u64,
    /// The sound, and our commits in it.
    pub(super) pieces: Vec<Piece>,
    /// Whether there is a turn in it that its server has to find.
    pub(super) has_turn: bool,
}

/// A part of what another server is to hear.
#[derive(Debug)]
pub(super) enum Piece {
    /// 20 ms of sound: the number of the frame.
    Frame(u64),
    /// The turn is over.
    Commit,
}

impl Tape {
    /// Empty; `by_server` says who ends turns, `expects_words` whether their words are told.
    pub(super) const fn new(by_server: bool, expects_words: bool) -> Self {
        Self {
            frames: VecDeque::new(),
            first: 0,
            turns: Vec::new(),
            by_server,
            expects_words,
            buffered: 0,
            is_listening: false,
            alive: 0,
            // Who speaks before the first server listens is heard by it all the same.
            unheard: Some(0),
            dropped: 0,
        }
    }

    /// The number of the frame that comes next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Takes a frame, and gives back its number.
    pub(super) fn push(&mut self, frame: &Frame24k, now: Instant) -> u64 {
        let number = self.end();
        if self.frames.len() == self.frames.capacity() {
            self.frames.reserve_exact(GROWTH_FRAMES);
        }
        self.frames.push_back(*frame);
        self.trim(now);
        number
    }

    /// The frame of this number, if it is kept.
    pub(super) fn frame(&self, number: u64) -> Option<&Frame24k> {
        self.frames.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The server gives a sign of life: it has heard what came before.
    pub(super) fn on_alive(&mut self) {
        self.alive = self.end();
    }

    /// The server hears speech that began at this frame.
    pub(super) fn on_started(&mut self, name: String, from: u64) {
        let from = from.min(self.end().saturating_sub(PRE_ROLL_FRAMES)).max(self.first);
        // What was to be heard again is heard now.
        self.turns.retain(|turn| turn.name.is_some() || turn.from > from + PRE_ROLL_FRAMES);
        if !self.turns.iter().any(|turn| turn.name.as_deref() == Some(&name)) {
            self.turns.push(Heard { name: Some(name), from, over: None, is_answered: false });
        }
    }

    /// The server has taken a turn as over.
    pub(super) fn on_over(&mut self, name: &str, now: Instant) {
        let end = self.end();
        let is_it = |turn: &&mut Heard| turn.name.as_deref() == Some(name);
        if let Some(turn) = self.turns.iter_mut().find(is_it) {
            turn.over.get_or_insert((end, now));
        } else if self.by_server {
            tracing::trace!("a turn that nobody was heard to begin");
        } else if let Some(turn) = self.turns.iter_mut().find(|turn| turn.name.is_none()) {
            turn.name = Some(name.to_owned());
        }
        if self.by_server {
            self.buffered = end;
        }
    }

    /// We have taken a turn as over.
    pub(super) fn commit(&mut self, now: Instant) {
        let (from, end) = (self.buffered, self.end());
        let over = Some((end, now));
        self.turns.push(Heard { name: None, from, over, is_answered: false });
        self.buffered = end;
    }

    /// What was heard since the last turn was no speech.
    pub(super) fn clear(&mut self) {
        self.buffered = self.end();
        self.turns.retain(|turn| turn.over.is_some());
    }

    /// Something of an answer is there: turns that were over are answered by it.
    pub(super) fn on_answered(&mut self) {
        for turn in self.turns.iter_mut().filter(|turn| turn.over.is_some()) {
            turn.is_answered = true;
        }
        if !self.expects_words {
            self.turns.retain(|turn| !turn.is_answered);
        }
    }

    /// The words of a turn are safe, or the server has forgotten it.
    pub(super) fn on_settled(&mut self, name: &str) {
        self.turns.retain(|turn| turn.name.as_deref() != Some(name));
    }

    /// Whether words of turns that are over are still to come.
    pub(super) fn awaits_words(&self) -> bool {
        self.turns.iter().any(|turn| turn.over.is_some())
    }

    /// The server is not heard from any more: turns that were answered are given away with
    /// their sound, the others will be heard again.
    pub(super) fn on_lost(&mut self) -> Vec<Lost> {
        // What came since the last sign of life may have been heard by nobody.
        self.leave(self.alive);
        let mut lost = self.hear_again();
        for turn in std::mem::take(&mut self.turns) {
            let Heard { name: Some(name), from, over: Some((to, _)), is_answered: true } = turn
            else {
                self.turns.push(turn);
                continue;
            };
            let sound = self.kept(from, to).filter_map(|number| self.frame(number).copied());
            let sound = sound.collect();
            lost.push(Lost { name, fate: Fate::Sound(sound) });
        }
        lost
    }

    /// Another server takes over: turns that were not answered will be heard again.
    pub(super) fn on_left(&mut self) -> Vec<Lost> {
        self.leave(self.end());
        self.hear_again()
    }

    /// Remembers from where on another server has to listen: a beginning of speech may have been
    /// heard, and not been told yet.
    fn leave(&mut self, understood: u64) {
        let onset = understood.saturating_sub(PRE_ROLL_FRAMES);
        let (first, buffered) = (self.first, self.buffered);
        self.is_listening = false;
        self.unheard.get_or_insert(onset.max(buffered).max(first));
    }

    fn hear_again(&mut self) -> Vec<Lost> {
        let again = self.turns.iter_mut().filter(|turn| !turn.is_answered);
        again
            .filter_map(|turn| turn.name.take())
            .map(|name| Lost { name, fate: Fate::HeardAgain })
            .collect()
    }

    /// What another server is to hear first.
    pub(super) fn rewind(&mut self, now: Instant) -> Rewound {
        let unheard = self.unheard.take().unwrap_or(self.first);
        let starts = self.again().map(|turn| turn.from);
        let open = if self.by_server { unheard } else { unheard.min(self.buffered) };
        let from = starts.fold(open, u64::min).max(self.first);
        let mut pieces = Vec::new();
        let mut at = from;
        if !self.by_server {
            for to in self.again().filter_map(|turn| turn.over.map(|(to, _)| to)) {
                pieces.extend(self.kept(at, to).map(Piece::Frame));
                pieces.push(Piece::Commit);
                at = to.max(at);
            }
        }
        pieces.extend(self.kept(at, self.end()).map(Piece::Frame));
        if self.dropped > 0 {
            tracing::debug!(frames = self.dropped, "sound was lost, for it came to too much");
        }
        self.dropped = 0;
        let end = self.end();
        (self.is_listening, self.alive) = (true, end);
        for turn in self.turns.iter_mut().filter(|turn| turn.name.is_none()) {
            turn.over = Some(turn.over.map_or((end, now), |(to, _)| (to, now)));
        }
        Rewound { from, pieces, has_turn: self.by_server && self.again().next().is_some() }
    }

    /// The turns that another server is to hear.
    fn again(&self) -> impl Iterator<Item = &Heard> {
        self.turns.iter().filter(|turn| turn.name.is_none() && !turn.is_answered)
    }

    #[cfg(test)]
    pub(super) fn frames_kept(&self) -> usize {
        self.frames.len()
    }

    /// The numbers of the frames of a stretch that are kept.
    fn kept(&self, from: u64, to: u64) -> std::ops::Range<u64> {
        from.max(self.first)..to.min(self.end())
    }

    /// Forgets what is not needed, and the oldest of what is too much.
    fn trim(&mut self, now: Instant) {
        let is_late = |over: Option<(u64, Instant)>| {
            over.is_some_and(|(_, at)| now.saturating_duration_since(at) > WORDS_LIMIT)
        };
        self.turns.retain(|turn| self.unheard.is_some() || !is_late(turn.over));
        let mut keep = self.alive.saturating_sub(PRE_ROLL_FRAMES).max(self.buffered);
        if !self.is_listening {
            keep = self.end();
        }
        keep = keep.min(self.end().saturating_sub(PRE_ROLL_FRAMES));
        keep = keep.min(self.unheard.unwrap_or(u64::MAX));
        if !self.by_server {
            keep = keep.min(self.buffered);
        }
        keep = self.turns.iter().map(|turn| turn.from).fold(keep, u64::min);
        let bound = self.end().saturating_sub(FRAMES_CAPACITY as u64);
        self.dropped += bound.saturating_sub(keep.max(self.first)).min(1);
        while self.first < keep.max(bound) && self.frames.pop_front().is_some() {
            self.first += 1;
        }
        let first = self.first;
        self.turns.retain(|turn| turn.over.is_none_or(|(to, _)| to > first));
        if self.frames.capacity() > ROOM_FRAMES && self.frames.len() <= ROOM_FRAMES / 2 {
            self.frames.shrink_to(ROOM_FRAMES);
        }
    }
}

/// How many frames so many milliseconds are.
pub(super) const fn frames_in(ms: u64) -> u64 {
    ms / FRAME_MS
}

/// What is kept before a server says that it hears speech: it says so late, and begins early.
const PRE_ROLL_FRAMES: u64 = frames_in(500);

/// Frames that may be kept: 20 s. When full: the oldest is dropped and counted.
const FRAMES_CAPACITY: usize = 1_000;

/// By how much the tape grows when it is full.
const GROWTH_FRAMES: usize = 32;

/// Room that is not given back: for what comes between two signs of life of a silent server.
const ROOM_FRAMES: usize = 160;

/// How long the words of a turn may take. Beyond this they never come.
const WORDS_LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn frames_are_found_by_their_number_as_long_as_they_are_kept() {
        let (mut tape, now) = (Tape::new(true, false), clock::now());
        tape.rewind(now);
        for value in 0..100 {
            assert_eq!(
                tape.push(&Frame24k::new([value; 480]), now),
                u64::from(value.unsigned_abs())
            );
            tape.on_alive();
        }
        assert_eq!(tape.frame(99).map(|frame| frame[0]), Some(99));
        assert_eq!((tape.frame(10), tape.frame(100)), (None, None));
    }

    #[test]
    fn room_for_a_long_outage_is_given_back() {
        let (mut tape, now) = (Tape::new(true, false), clock::now());
        for _ in 0..900 {
            tape.push(&Frame24k::SILENCE, now);
        }
        assert!(tape.frames.capacity() >= 900);
        tape.rewind(now);
        tape.push(&Frame24k::SILENCE, now);
        assert!(tape.frames.capacity() <= ROOM_FRAMES);
        assert!(tape.frames.len() >= 25);
    }
}
