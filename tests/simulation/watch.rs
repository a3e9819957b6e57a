//! What must hold of everything an agent puts out, whatever it has been through.

use std::collections::{BTreeMap, BTreeSet};

use callbridge::agent::{
    Activity, CallStage, Command, EdgeKind, Event, Medium, ModelAction, ModelEvent, Notification,
    Output, Participant, Phase, RecordEntry, Role, RoomAction, Snapshot, SpeakStatus,
};
use callbridge::ids::{AgentId, CallId, ToolCallId, UtteranceId};

/// What one agent's clients and shell have seen so far.
#[derive(Debug)]
pub(crate) struct Watch {
    id: AgentId,
    pub(crate) phase: Phase,
    pub(crate) activity: Activity,
    tools: BTreeSet<ToolCallId>,
    past_tools: BTreeSet<ToolCallId>,
    heard: BTreeSet<UtteranceId>,
    cut: BTreeSet<UtteranceId>,
    call: Option<CallId>,
    others: Vec<Participant>,
    has_room: bool,
    /// Whether this call was greeted.
    is_greeted: bool,
    /// Whether it is known how to listen in the next room.
    listens: bool,
    ending: Ending,
    /// Answers asked for since the last word from outside.
    alone: u32,
    rounds_max: u32,
    medium: Medium,
    /// What clients have told, and no model has heard.
    untold: BTreeSet<String>,
    /// What the model of this session has heard as news.
    news: BTreeSet<String>,
}

/// How far the end has come; its order is the contract's.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Ending {
    Not,
    Told,
    Closed,
    Over,
}

impl Watch {
    pub(crate) const fn new(id: AgentId, rounds_max: u32) -> Self {
        Self {
            id,
            phase: Phase::Created,
            activity: Activity::Idle,
            tools: BTreeSet::new(),
            past_tools: BTreeSet::new(),
            heard: BTreeSet::new(),
            cut: BTreeSet::new(),
            call: None,
            others: Vec::new(),
            has_room: false,
            is_greeted: false,
            listens: false,
            ending: Ending::Not,
            alone: 0,
            rounds_max,
            medium: Medium::Text,
            untold: BTreeSet::new(),
            news: BTreeSet::new(),
        }
    }

    /// A word from outside lets the agent go on.
    pub(crate) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Speech(edge) if edge.kind == EdgeKind::Started => self.alone = 0,
            Event::Model(ModelEvent::SpeechStarted { .. }) | Event::TakenOver(_) => self.alone = 0,
            _ => {}
        }
    }

    /// The room has come with a conversation, or is gone without our asking.
    pub(crate) fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// A command that was taken.
    pub(crate) fn on_command(&mut self, command: &Command) {
        match command {
            Command::Context(update) => {
                self.untold.insert(update.name.clone());
                self.alone = if update.triggering { 0 } else { self.alone };
            }
            Command::Say(_) | Command::Interrupt => self.alone = 0,
            _ => {}
        }
    }

    pub(crate) fn see(&mut self, output: &Output, records: &mut Records) {
        assert!(self.ending != Ending::Over, "nothing follows the end");
        match output {
            Output::Notify(told) => self.hear(told),
            Output::Room(RoomAction::Join(_)) => {
                self.has_room = true;
                assert!(std::mem::take(&mut self.listens), "nobody knows how to listen in there");
            }
            Output::Listen(_) => self.listens = true,
            Output::Room(RoomAction::Leave) => self.has_room = false,
            Output::Model(action) => self.tell_model(action),
            Output::HandOff(baggage) if baggage.has_call() => self.has_room = false,
            Output::Playback(_) | Output::HandOff(_) => {}
            Output::Record { call, entry } => records.take(&self.id, call, entry),
            Output::CloseClients => self.end(Ending::Told, Ending::Closed),
            Output::Forget(_) => {
                assert_eq!(self.phase, Phase::Ended, "clients know that it has ended");
                self.end(Ending::Closed, Ending::Over);
            }
            Output::Stop => self.end(Ending::Closed, Ending::Over),
        }
    }

    fn tell_model(&mut self, action: &ModelAction) {
        match action {
            ModelAction::Open { medium, .. } => {
                self.medium = *medium;
                self.news.clear();
            }
            ModelAction::AddText { role, text } => {
                for line in text.expose().lines().filter(|line| line.starts_with("event ")) {
                    self.untold.remove(line);
                    let is_new = *role != Role::User || self.news.insert(line.to_owned());
                    assert!(is_new, "the model is given {line} twice");
                }
            }
            ModelAction::Respond { instructions: Some(words) }
                if words.expose().contains("Hello") =>
            {
                assert!(!self.others.is_empty(), "nobody is there to be greeted");
                assert!(!std::mem::replace(&mut self.is_greeted, true), "greeted twice");
            }
            ModelAction::Respond { instructions: None } => {
                self.alone += 1;
                // A round may be broken off and begun anew, and one session may be lost.
                assert!(self.alone <= self.rounds_max + 2, "it goes on and on by itself");
                let is_told = self.medium == Medium::Voice || self.untold.is_empty();
                assert!(is_told, "it answers without having heard {:?}", self.untold);
            }
            _ => {}
        }
    }

    fn hear(&mut self, told: &Notification) {
        // Who goes on is told before the first agent's own end.
        let is_heir_told = self.phase == Phase::HandingOff && self.ending == Ending::Told;
        let is_end = matches!(told, Notification::State { to: Phase::Ended, .. });
        let may_be_told = self.ending == Ending::Not || (is_heir_told && is_end);
        assert!(may_be_told, "nothing is told after the last word: {told:?}");
        match told {
            Notification::Status(activity) => {
                assert_ne!(*activity, self.activity, "a status that is no news");
                self.activity = *activity;
            }
            Notification::State { from, to, .. } => {
                assert_eq!(*from, self.phase, "a transition begins where the last one ended");
                assert!(TABLE.contains(&(*from, *to)), "{from:?} to {to:?} is not in the table");
                self.phase = *to;
            }
            Notification::ToolCall { id, .. } => {
                assert!(!self.past_tools.contains(id), "{id} is told again");
                assert!(self.tools.insert(id.clone()), "{id} is told twice");
            }
            Notification::CancelToolCall { id, .. } => self.close_tool(id),
            Notification::ParticipantJoined(new) => self.others.push(new.clone()),
            Notification::ParticipantLeft { participant, .. } => {
                self.others.retain(|other| other != participant);
            }
            Notification::RoomJoined { call, participants, .. } => {
                self.others.clone_from(participants);
                self.is_greeted = false;
                let before = self.call.replace(call.clone());
                assert_eq!(before, None, "a room is joined while in a room");
            }
            Notification::RoomLeft { call, .. } => {
                assert_eq!(self.call.take().as_ref(), Some(call), "what is left was joined");
                assert!(self.heard.is_empty(), "still speaking: {:?}", self.heard);
            }
            Notification::Speak { utterance, .. } => {
                assert!(!self.cut.contains(utterance), "{utterance} goes on after its end");
            }
            Notification::SpeakStatus { utterance, status, .. } => self.speak(utterance, *status),
            Notification::Handoff { .. } => self.end(Ending::Not, Ending::Told),
            Notification::Error { code, .. } if LAST_WORDS.contains(code) => {
                self.end(Ending::Not, Ending::Told);
            }
            _ => {}
        }
    }

    fn speak(&mut self, utterance: &UtteranceId, status: SpeakStatus) {
        match status {
            SpeakStatus::Started => {
                assert!(self.heard.insert(utterance.clone()), "{utterance} starts twice");
            }
            SpeakStatus::Finished => {
                assert!(self.heard.remove(utterance), "{utterance} finishes unheard");
            }
            SpeakStatus::Interrupted => {
                self.heard.remove(utterance);
                assert!(self.cut.insert(utterance.clone()), "{utterance} is cut twice");
            }
        }
    }

    pub(crate) fn close_tool(&mut self, id: &ToolCallId) {
        assert!(self.tools.remove(id), "{id} is resolved without being open");
        self.past_tools.insert(id.clone());
    }

    /// One step of the end, after the one it must follow.
    fn end(&mut self, after: Ending, to: Ending) {
        assert_eq!(self.ending, after, "the end has its order");
        assert_eq!(self.call, None, "the call is left before anything else");
        assert!(!self.has_room, "the room is left before anything else");
        assert!(self.tools.is_empty(), "tools outlive their agent: {:?}", self.tools);
        self.ending = to;
    }

    pub(crate) fn open_tools(&self) -> impl Iterator<Item = &ToolCallId> {
        self.tools.iter()
    }

    pub(crate) fn past_tools(&self) -> impl Iterator<Item = &ToolCallId> {
        self.past_tools.iter()
    }

    /// What was told, put together, is what is.
    pub(crate) fn check(&self, is: &Snapshot) {
        // A process that goes down does not tell clients that the agent has ended: it has not.
        if self.ending == Ending::Not {
            assert_eq!(self.phase, is.phase, "the phase that clients know");
            assert_eq!(self.activity, is.activity, "the activity that clients know");
            let call = is.call.as_ref().filter(|call| call.stage == CallStage::InCall);
            let others = call.map_or(&self.others, |call| &call.participants);
            assert_eq!(self.others, *others, "who is there, as far as clients know");
        }
    }
}

/// The records of all calls.
#[derive(Debug, Default)]
pub(crate) struct Records(BTreeMap<CallId, Writer>);

#[derive(Debug, PartialEq)]
enum Writer {
    Agent(AgentId),
    Nobody,
}

impl Records {
    fn take(&mut self, agent: &AgentId, call: &CallId, entry: &RecordEntry) {
        if let RecordEntry::Began { .. } = entry {
            let before = self.0.insert(call.clone(), Writer::Agent(agent.clone()));
            return assert_eq!(before, None, "a record begins once");
        }
        let writer = self.0.get_mut(call).expect("a record begins before it goes on");
        assert_eq!(*writer, Writer::Agent(agent.clone()), "one writes a record, until its end");
        match entry {
            RecordEntry::HandedOff { to, .. } => *writer = Writer::Agent(to.clone()),
            RecordEntry::Ended { .. } => *writer = Writer::Nobody,
            _ => {}
        }
    }

    /// An agent is gone, and has left no record open.
    pub(crate) fn check_closed_by(&self, agent: &AgentId) {
        let is_open = |writer: &Writer| *writer == Writer::Agent(agent.clone());
        let open: Vec<_> = self.0.iter().filter(|(_, writer)| is_open(writer)).collect();
        assert!(open.is_empty(), "records without an end: {open:?}");
    }

    /// A call was on its way to an agent that is gone.
    pub(crate) fn lose(&mut self, agent: &AgentId) {
        for writer in self.0.values_mut() {
            if *writer == Writer::Agent(agent.clone()) {
                *writer = Writer::Nobody;
            }
        }
    }
}

/// The lifecycle of the contract, section 4.
const TABLE: [(Phase, Phase); 11] = [
    (Phase::Created, Phase::Connected),
    (Phase::Created, Phase::Active),
    (Phase::Created, Phase::Ended),
    (Phase::Connected, Phase::Active),
    (Phase::Connected, Phase::Created),
    (Phase::Connected, Phase::HandingOff),
    (Phase::Connected, Phase::Ended),
    (Phase::Active, Phase::Connected),
    (Phase::Active, Phase::HandingOff),
    (Phase::Active, Phase::Ended),
    (Phase::HandingOff, Phase::Ended),
];

/// The errors after which a connection ends.
const LAST_WORDS: [&str; 4] =
    ["AGENT_EXPIRED", "AGENT_DELETED", "AGENT_INACTIVE", "SERVER_SHUTDOWN"];
