//! What stands around an agent, simulated: a room, a model, the voice's queue, clients. It does
//! what the agent puts out the way the runtime does.

use std::collections::{BTreeSet, VecDeque};

use callbridge::agent::{
    Baggage, Event, Medium, Memory, ModelAction, Output, Participant, PlaybackEvent, RoomAction,
    RoomEvent,
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
    pub(crate) speaking: BTreeSet<ParticipantId>,
}

/// A session with a model.
#[derive(Debug)]
pub(crate) struct Mind {
    pub(crate) medium: Medium,
    pub(crate) is_ready: bool,
    /// An answer was asked for, and has not begun.
    pub(crate) is_asked: bool,
    /// A participant's turn is over by the model's ear, and it has not begun to answer.
    pub(crate) turn_is_over: bool,
    pub(crate) answer: Option<Answer>,
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
    pub(crate) fn perform(&mut self, output: Output, manners: Manners, random: &mut Random) {
        assert_eq!(self.exit, None, "nothing follows the end: {output:?}");
        match output {
            Output::Notify(_) | Output::Record { .. } => {}
            Output::Room(RoomAction::Join(_)) => {
                assert!(self.room.is_none(), "a room is joined while in a room");
                self.is_leaving = false;
                self.room = Some(Room::default());
            }
            Output::Room(RoomAction::Leave) => {
                assert!(self.room.take().is_some(), "no room is left but the one we are in");
                self.voice.clear();
                self.born.append(&mut self.late);
                if manners.rooms_are_prompt {
                    self.born.push_back(Event::Room(RoomEvent::Left));
                } else {
                    self.is_leaving = true;
                }
            }
            Output::Model(action) => self.act(&action, random),
            Output::FlushPlayback => {
                let is_slow = manners.voice_is_slow && random.one_in(4);
                self.flush(is_slow, random);
            }
            Output::CloseClients => self.clients.clear(),
            Output::HandOff(baggage) => self.parcel = Some(baggage),
            Output::Forget(memory) => self.exit = Some(Exit::Forgotten(memory)),
            Output::Stop => self.exit = Some(Exit::Stopped),
        }
    }

    fn act(&mut self, action: &ModelAction, random: &mut Random) {
        if let ModelAction::Open { medium, .. } = action {
            assert!(self.mind.is_none(), "a session is opened beside another");
            self.mind = Some(Mind {
                medium: *medium,
                is_ready: false,
                is_asked: false,
                turn_is_over: false,
                answer: None,
            });
            return;
        }
        let Some(mind) = &mut self.mind else { return };
        match action {
            ModelAction::Respond { .. } => mind.is_asked = true,
            ModelAction::Cancel => mind.cancel(random),
            ModelAction::Close => self.mind = None,
            ModelAction::Open { .. }
            | ModelAction::AddText { .. }
            | ModelAction::AddImage { .. }
            | ModelAction::ToolOutput { .. }
            | ModelAction::Truncate { .. } => {}
        }
    }

    fn flush(&mut self, is_slow: bool, random: &mut Random) {
        let queue = if is_slow { &mut self.late } else { &mut self.born };
        for spoken in self.voice.drain(..) {
            let heard = if spoken.has_begun { random.below(spoken.received_ms + 1) } else { 0 };
            queue.push_back(Event::Playback(PlaybackEvent::Flushed {
                utterance: spoken.utterance,
                heard_ms: heard,
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
    }

    /// Whether a tool that this answer asks for must be told: its answer has not been broken off.
    pub(crate) fn wants(&self, response: &ResponseId) -> bool {
        let answer = self.mind.as_ref().and_then(|mind| mind.answer.as_ref());
        answer.is_some_and(|answer| answer.id == *response && answer.is_wanted())
    }

    /// Whether the model answers, or is about to, and is not to stop.
    pub(crate) fn is_answering(&self) -> bool {
        self.mind.as_ref().is_some_and(|mind| {
            mind.is_asked || mind.answer.as_ref().is_some_and(Answer::is_wanted)
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
        self.mind.as_ref().is_some_and(|mind| !mind.is_ready)
    }

    /// Whether the agent is heard.
    pub(crate) fn is_heard(&self) -> bool {
        self.voice.front().is_some_and(|spoken| spoken.has_begun)
    }
}

impl Mind {
    /// As a session does it: what was asked for and has no name yet is broken off once it has.
    fn cancel(&mut self, random: &mut Random) {
        match &mut self.answer {
            Some(answer) if answer.is_wanted() => answer.standing = Standing::Cancelled,
            None if self.is_asked => {
                let mut revoked = Answer::new(random);
                revoked.standing = Standing::Revoked;
                self.answer = Some(revoked);
            }
            Some(_) | None => {}
        }
        self.is_asked = false;
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
