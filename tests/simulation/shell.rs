//! What stands around an agent, simulated: a room, a model, the voice's queue, clients. It does
//! what the agent puts out the way the runtime does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use callbridge::agent::{
    Baggage, Event, Medium, Memory, ModelAction, Output, Participant, PlaybackAction,
    PlaybackEvent, RoomAction, RoomEvent,
};
use callbridge::ids::{ClientId, ParticipantId, ResponseId, ToolCallId, UtteranceId};

use super::random::Random;

/// The links of one agent, and what they will report.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    pub(crate) room: Option<Room>,
    /// A room that was left, and has not yet said so.
    pub(crate) is_leaving: bool,
    pub(crate) mind: Option<Mind>,
    pub(crate) voice: VecDeque<Spoken>,
    /// Since when the voice is held.
    pub(crate) held: Option<Instant>,
    pub(crate) clients: BTreeSet<ClientId>,
    /// What doing an output has brought about, for the agent to hear next.
    pub(crate) born: VecDeque<Event>,
    /// What a slow voice will tell of a flush.
    pub(crate) late: VecDeque<Event>,
    /// A tool call that is open: the model may tell it again.
    pub(crate) latest_tool: Option<ToolCallId>,
    /// An interrupt has just been obeyed.
    pub(crate) must_be_quiet: bool,
    pub(crate) parcel: Option<Box<Baggage>>,
    pub(crate) exit: Option<Exit>,
}

/// How the agent has gone.
#[derive(Debug, PartialEq)]
pub(crate) enum Exit {
    Forgotten(Memory),
    Stopped,
}

/// A link to a room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) is_in: bool,
    pub(crate) others: Vec<Participant>,
    /// Whether anybody has ever been there.
    pub(crate) had_others: bool,
    /// Who makes a sound, and whether it is known to be speech.
    pub(crate) speaking: BTreeMap<ParticipantId, bool>,
}

/// A session with a model.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for and answered by itself")]
#[derive(Debug)]
pub(crate) struct Mind {
    pub(crate) medium: Medium,
    pub(crate) link: Link,
    /// Whether it says when a turn is over.
    pub(crate) takes_turns: bool,
    /// An answer was asked for, and has not begun.
    pub(crate) is_asked: bool,
    /// Words of ours were asked for besides, and have not begun.
    pub(crate) words_asked: bool,
    /// A participant's turn is over by the model's ear, and it has not begun to answer.
    pub(crate) turn_is_over: bool,
    pub(crate) answer: Option<Answer>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    Opening,
    Open,
    /// It is lost, and another is being opened in its place.
    Lost,
}

/// One answer of a model.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) id: ResponseId,
    pub(crate) is_told: bool,
    pub(crate) standing: Standing,
    /// What it says was cut off: the voice takes no more of it.
    pub(crate) is_mute: bool,
    pub(crate) utterance: UtteranceId,
    pub(crate) words: usize,
}

/// Whether an answer counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing {
    Wanted,
    /// It was broken off, and late words and tools may come of it.
    Cancelled,
    /// It was broken off before it had a name: nothing comes of it but its beginning and end.
    Revoked,
}

/// An utterance of the agent in the voice's queue.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) utterance: UtteranceId,
    pub(crate) has_begun: bool,
    pub(crate) is_complete: bool,
    pub(crate) received_ms: u64,
}

/// How this shell behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Rooms say at once that they were left, as the runtime's do.
    pub(crate) rooms_are_prompt: bool,
    /// A flush may take a while.
    pub(crate) voice_is_slow: bool,
    /// A conversation that was passed on takes long to arrive.
    pub(crate) post_is_slow: bool,
}

impl Shell {
    /// Does what the agent asks for.
    pub(crate) fn perform(
        &mut self,
        output: Output,
        manners: Manners,
        now: Instant,
        random: &mut Random,
    ) {
        assert_eq!(self.exit, None, "nothing follows the end: {output:?}");
        match output {
            Output::Notify(_) | Output::Record { .. } | Output::Listen(_) => {}
            Output::Room(RoomAction::Join(_)) => {
                assert!(self.room.is_none(), "a room is joined while in a room");
                self.is_leaving = false;
                self.room = Some(Room::default());
            }
            Output::Room(RoomAction::Leave) => {
                assert!(self.room.take().is_some(), "no room is left but the one we are in");
                assert_eq!(self.held, None, "a room is left with a held voice");
                self.voice.clear();
                self.born.append(&mut self.late);
                if manners.rooms_are_prompt {
                    self.born.push_back(Event::Room(RoomEvent::Left));
                } else {
                    self.is_leaving = true;
                }
            }
            Output::Model(action) => self.act(&action, random),
            Output::Playback(PlaybackAction::Flush) => {
                let is_slow = manners.voice_is_slow && random.one_in(4);
                self.flush(is_slow, random);
            }
            Output::Playback(PlaybackAction::Hold) => {
                assert_eq!(self.held.replace(now), None, "a voice is held twice");
            }
            Output::Playback(PlaybackAction::Resume) => {
                assert!(self.held.take().is_some(), "a voice goes on that was not held");
            }
            Output::CloseClients => self.clients.clear(),
            Output::HandOff(baggage) => {
                assert_eq!(self.held, None, "a held voice is passed on");
                self.parcel = Some(baggage);
            }
            Output::Forget(memory) => self.exit = Some(Exit::Forgotten(memory)),
            Output::Stop => self.exit = Some(Exit::Stopped),
        }
    }

    fn act(&mut self, action: &ModelAction, random: &mut Random) {
        if let ModelAction::Open { medium, .. } = action {
            assert!(self.mind.is_none(), "a session is opened beside another");
            self.mind = Some(Mind {
                medium: *medium,
                link: Link::Opening,
                takes_turns: true,
                is_asked: false,
                words_asked: false,
                turn_is_over: false,
                answer: None,
            });
            return;
        }
        let Some(mind) = &mut self.mind else { return };
        match action {
            ModelAction::Respond { instructions } => {
                let is_busy = mind.is_to_answer() || mind.turn_is_over || mind.answer.is_some();
                let mut sounds = self.room.iter().flat_map(|room| room.speaking.values());
                let is_spoken_to = sounds.any(|is_speech| *is_speech);
                let is_heard = self.voice.iter().any(|spoken| spoken.has_begun);
                let may_ask = !is_spoken_to || is_busy || is_heard || instructions.is_some();
                assert!(may_ask, "who speaks is not heard out");
                mind.is_asked |= instructions.is_none();
                mind.words_asked |= instructions.is_some();
            }
            ModelAction::Cancel | ModelAction::GiveWay { .. } => mind.cancel(random),
            ModelAction::Close => self.mind = None,
            ModelAction::Commit | ModelAction::Clear => {
                let is_open = mind.link != Link::Opening;
                assert!(is_open && !mind.takes_turns, "the model takes turns by itself");
            }
            ModelAction::Open { .. }
            | ModelAction::AddText { .. }
            | ModelAction::AddImage { .. }
            | ModelAction::ToolOutput { .. }
            | ModelAction::Truncate { .. } => {}
        }
    }

    fn flush(&mut self, is_slow: bool, random: &mut Random) {
        self.held = None;
        let queue = if is_slow { &mut self.late } else { &mut self.born };
        for spoken in self.voice.drain(..) {
            let heard = if spoken.has_begun { random.below(spoken.received_ms + 1) } else { 0 };
            queue.push_back(Event::Playback(PlaybackEvent::Flushed {
                utterance: spoken.utterance,
                heard_ms: heard,
                end_ms: heard,
                is_complete: spoken.is_complete,
                received_ms: spoken.received_ms,
            }));
        }
        queue.push_back(Event::Playback(PlaybackEvent::Silent));
        if let Some(answer) = self.mind.as_mut().and_then(|mind| mind.answer.as_mut()) {
            answer.is_mute = true;
        }
    }

    /// The link to the room is gone, and the voice with it.
    pub(crate) fn lose_room(&mut self) {
        self.room = None;
        self.voice.clear();
        self.late.clear();
        self.held = None;
    }

    /// Whether a tool that this answer asks for must be told: its answer has not been broken off.
    pub(crate) fn wants(&self, response: &ResponseId) -> bool {
        let answer = self.mind.as_ref().and_then(|mind| mind.answer.as_ref());
        answer.is_some_and(|answer| answer.id == *response && answer.is_wanted())
    }

    /// Whether the model answers, or is about to, and is not to stop.
    pub(crate) fn is_answering(&self) -> bool {
        self.mind.as_ref().is_some_and(|mind| {
            mind.is_to_answer() || mind.answer.as_ref().is_some_and(Answer::is_wanted)
        })
    }

    /// Whether the model has to answer to a participant, or seems to: that an answer is one that
    /// was not wanted any more is only known when it ends.
    pub(crate) fn is_awaited(&self) -> bool {
        let is_revoked = |answer: &Answer| answer.standing == Standing::Revoked;
        self.mind
            .as_ref()
            .is_some_and(|mind| mind.turn_is_over || mind.answer.as_ref().is_some_and(is_revoked))
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.mind.as_ref().is_some_and(|mind| mind.link == Link::Opening)
    }

    /// Whether the agent is heard.
    pub(crate) fn is_heard(&self) -> bool {
        self.voice.front().is_some_and(|spoken| spoken.has_begun)
    }
}

impl Mind {
    /// Whether something was asked for and has not begun.
    pub(crate) const fn is_to_answer(&self) -> bool {
        self.is_asked || self.words_asked
    }

    /// Begins with what was asked for, one thing at a time.
    pub(crate) fn take_request(&mut self) -> bool {
        std::mem::take(&mut self.words_asked) || std::mem::take(&mut self.is_asked)
    }

    /// As a session does it: what was asked for and has no name yet is broken off once it has.
    fn cancel(&mut self, random: &mut Random) {
        let is_to_answer = self.is_to_answer();
        match &mut self.answer {
            Some(answer) if answer.is_wanted() => answer.standing = Standing::Cancelled,
            None if is_to_answer => {
                let mut revoked = Answer::new(random);
                revoked.standing = Standing::Revoked;
                self.answer = Some(revoked);
            }
            Some(_) | None => {}
        }
        (self.is_asked, self.words_asked) = (false, false);
        self.turn_is_over = false;
    }
}

impl Answer {
    pub(crate) fn is_wanted(&self) -> bool {
        self.standing == Standing::Wanted
    }

    pub(crate) fn new(random: &mut Random) -> Self {
        let number = random.below(u64::MAX);
        Self {
            id: ResponseId::new(format!("r{number:x}")),
            is_told: false,
            standing: Standing::Wanted,
            is_mute: false,
            utterance: UtteranceId::new(format!("s{number:x}")),
            words: 0,
        }
    }
}
