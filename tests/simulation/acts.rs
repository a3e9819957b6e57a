//! What may happen to one agent: clients, commands, room, ear, model and voice, each at random.

use std::time::Duration;

use callbridge::agent::{
    Command, ContextUpdate, EdgeKind, Event, JoinRequest, Medium, ModelEvent, ModelFailure,
    Participant, PlaybackEvent, ResponseOutcome, RoomEvent, RoomFailure, SpeechEdge, ToolResult,
};
use callbridge::ids::{CallId, ClientId, ParticipantId, ToolCallId, UtteranceId};
use callbridge::privacy::Pii;

use super::body::{Around, Body, Input};
use super::random::Random;
use super::shell::{Answer, Link, Mind, Shell, Spoken, Standing};
use super::world::spec;

impl Body {
    /// A client comes, or one of those that are there goes; perhaps without having been there.
    pub(crate) fn come_or_go(&mut self, number: u64, around: &mut Around) {
        let random = &mut around.random;
        let clients: Vec<ClientId> = self.shell.clients.iter().cloned().collect();
        let goes = random.one_in(2) || clients.len() > 2;
        let event = if goes && !clients.is_empty() {
            let client = random.pick(&clients).clone();
            self.shell.clients.remove(&client);
            Event::ClientDisconnected(client)
        } else if random.one_in(10) {
            Event::ClientDisconnected(ClientId::new("a stranger"))
        } else {
            let client = ClientId::new(format!("cl{number}"));
            self.shell.clients.insert(client.clone());
            Event::ClientConnected(client)
        };
        self.feed(Input::Event(event), around);
    }

    /// A client, or the owner, asks for something, sensible or not.
    pub(crate) fn ask(&mut self, number: u64, around: &mut Around) {
        let random = &mut around.random;
        let command = match random.below(60) {
            0..10 => Command::Join(JoinRequest {
                call: CallId::new(format!("call{number}")),
                room_url: "rooms/a".into(),
                token: None,
                participant_name: None,
            }),
            10..13 => Command::Leave,
            13..25 => Command::Context(ContextUpdate {
                name: format!("event {number}"),
                description: Pii::new(String::new()),
                context_json: Pii::new(format!("{{\"n\":{number}}}")),
                images: Vec::new(),
                triggering: !random.one_in(4),
            }),
            25..47 => Command::ToolResult(self.result(random)),
            47..50 => Command::Say(Pii::new("word for word".into())),
            50..53 => Command::Interrupt,
            53 => Command::SetMuted(true),
            54 => Command::SetMuted(false),
            55..58 => {
                let ttl = Duration::from_secs(random.below(900));
                Command::Reconfigure {
                    spec: random.one_in(2).then(|| spec(random).into()),
                    expires_at: random.one_in(4).then(|| Some(around.now + ttl)),
                }
            }
            58 => Command::ExpectHandoff,
            _ if random.one_in(4) => Command::Delete,
            _ => Command::Leave,
        };
        self.feed(Input::Command(command), around);
    }

    /// The result of a tool: right, late, second, cancelled, or for nothing.
    fn result(&self, random: &mut Random) -> ToolResult {
        let open: Vec<ToolCallId> = self.watch.open_tools().cloned().collect();
        let past: Vec<ToolCallId> = self.watch.past_tools().cloned().collect();
        let id = match random.below(10) {
            0 => ToolCallId::new("unknown"),
            1..8 if !open.is_empty() => random.pick(&open).clone(),
            _ if !past.is_empty() => random.pick(&past).clone(),
            _ => ToolCallId::new("early"),
        };
        let canceled = random.one_in(3);
        let text = Pii::new(format!("\"{id}\""));
        let outcome = if canceled || random.one_in(3) { Err(text) } else { Ok(text) };
        ToolResult { id, outcome, canceled, respond: !random.one_in(3) }
    }

    /// The room lets the agent in or not, is left, lets others in and out, or closes.
    pub(crate) fn stir_room(&mut self, number: u64, around: &mut Around) {
        let random = &mut around.random;
        if std::mem::take(&mut self.shell.is_leaving) {
            self.feed(Input::Event(Event::Room(RoomEvent::Left)), around);
            return;
        }
        let Some(room) = &mut self.shell.room else { return };
        let newcomer = |n| Participant { id: ParticipantId::new(n), name: "Ann".into() };
        let chance = random.below(20);
        let event = match (room.is_in, chance) {
            (false, 0..16) => {
                room.is_in = true;
                room.others =
                    (0..random.below(3)).map(|_| newcomer(format!("p{number}"))).collect();
                room.others.dedup();
                room.had_others |= !room.others.is_empty();
                RoomEvent::Joined { participants: room.others.clone() }
            }
            (true, 0..6) if room.others.len() < 3 => {
                let new = newcomer(format!("p{number}"));
                room.others.push(new.clone());
                room.had_others = true;
                RoomEvent::ParticipantJoined(new)
            }
            (true, 6..9) if !room.others.is_empty() => {
                let id = random.pick(&room.others).id.clone();
                RoomEvent::Speaking { id, is_speaking: chance < 8 }
            }
            (true, 9..11) if !room.others.is_empty() => {
                let id = random.pick(&room.others).id.clone();
                RoomEvent::Message { id, text: Pii::new("hi".into()) }
            }
            (true, 0..18) => {
                let Some(gone) = room.others.pop() else { return };
                room.speaking.remove(&gone.id);
                RoomEvent::ParticipantLeft { id: gone.id, reason: "left".into() }
            }
            (_, chance) => {
                self.shell.lose_room();
                self.watch.set_room(false);
                if chance == 19 { RoomEvent::Left } else { RoomEvent::Failed(RoomFailure::Full) }
            }
        };
        self.feed(Input::Event(Event::Room(event)), around);
    }

    /// Somebody begins to make a sound, goes on for so long that it is speech, or stops.
    pub(crate) fn stir_ear(&mut self, around: &mut Around) {
        let Some(room) = &mut self.shell.room else { return };
        if !room.is_in || room.others.is_empty() {
            return;
        }
        let participant = around.random.pick(&room.others).id.clone();
        let kind = match room.speaking.get_mut(&participant) {
            None => {
                room.speaking.insert(participant.clone(), false);
                EdgeKind::Started
            }
            Some(is_speech) if !*is_speech && around.random.one_in(2) => {
                *is_speech = true;
                EdgeKind::Sustained
            }
            Some(_) => {
                room.speaking.remove(&participant);
                EdgeKind::Stopped
            }
        };
        let edge = SpeechEdge { participant, kind, at: around.now };
        self.feed(Input::Event(Event::Speech(edge)), around);
    }

    /// The model does what it does next, or fails.
    pub(crate) fn stir_mind(&mut self, number: u64, around: &mut Around) {
        self.shell.latest_tool = self.watch.open_tools().last().cloned();
        let Some(event) = self.shell.think(number, &mut around.random) else { return };
        if matches!(event, ModelEvent::Failed(_)) {
            self.shell.mind = None;
        }
        self.feed(Input::Event(Event::Model(event)), around);
    }

    /// The voice goes on: a late word on a flush, the beginning or the end of an utterance.
    pub(crate) fn stir_voice(&mut self, around: &mut Around) {
        if let Some(event) = self.shell.late.pop_front() {
            self.feed(Input::Event(event), around);
            return;
        }
        if self.shell.held.is_some() {
            return;
        }
        let Some(spoken) = self.shell.voice.front_mut() else { return };
        let utterance = spoken.utterance.clone();
        let event = if !spoken.has_begun {
            spoken.has_begun = true;
            PlaybackEvent::Started { utterance }
        } else if spoken.is_complete {
            let heard_ms = spoken.received_ms;
            self.shell.voice.pop_front();
            PlaybackEvent::Finished { utterance, heard_ms }
        } else {
            return;
        };
        self.feed(Input::Event(Event::Playback(event)), around);
    }
}

impl Shell {
    /// What the model says next, if anything.
    fn think(&mut self, number: u64, random: &mut Random) -> Option<ModelEvent> {
        let mind = self.mind.as_mut()?;
        if random.one_in(60) {
            return Some(ModelEvent::Failed(ModelFailure::Lost("1006".into())));
        }
        match mind.link {
            Link::Opening => {
                mind.link = Link::Open;
                mind.takes_turns = !random.one_in(3);
                return Some(ModelEvent::Ready { takes_turns: mind.takes_turns });
            }
            Link::Lost => {
                mind.link = Link::Open;
                return Some(ModelEvent::Restored);
            }
            Link::Open if mind.answer.is_none() && random.one_in(40) => {
                mind.link = Link::Lost;
                return Some(ModelEvent::Reconnecting { reason: "1006".into() });
            }
            Link::Open => {}
        }
        if mind.answer.is_some() {
            return self.go_on(number, random);
        }
        if mind.take_request() {
            return Some(mind.answer(random));
        }
        if mind.medium == Medium::Text {
            return None;
        }
        let utterance = UtteranceId::new(format!("u{}", random.below(8)));
        Some(match random.below(6) {
            0 if mind.takes_turns => {
                ModelEvent::SpeechStarted { utterance, interrupts: !random.one_in(3) }
            }
            1 | 2 => {
                mind.turn_is_over = mind.takes_turns;
                ModelEvent::SpeechStopped { utterance }
            }
            3 => {
                let (text, is_final) = (Pii::new("what is it".to_owned()), random.one_in(2));
                ModelEvent::Transcript { utterance, text, is_final }
            }
            4 => ModelEvent::Complaint { code: "odd".into(), message: String::new() },
            _ if mind.takes_turns => mind.answer(random),
            _ => return None,
        })
    }

    /// The answer goes on: words, sound, tools, its end. Of a broken-off one, late ones.
    fn go_on(&mut self, number: u64, random: &mut Random) -> Option<ModelEvent> {
        let (mind, voice) = (self.mind.as_mut()?, &mut self.voice);
        let open = self.latest_tool.clone();
        let is_voice = mind.medium == Medium::Voice;
        let answer = mind.answer.as_mut()?;
        if !std::mem::replace(&mut answer.is_told, true) {
            return Some(ModelEvent::ResponseStarted { response: answer.id.clone() });
        }
        let response = answer.id.clone();
        let chance = random.below(if answer.is_wanted() { 12 } else { 30 });
        match if answer.standing == Standing::Revoked { u64::MAX } else { chance } {
            0..4 => {
                answer.words += 1;
                let text = Pii::new("word ".repeat(answer.words));
                let utterance = answer.utterance.clone();
                if is_voice && answer.is_wanted() && !answer.is_mute {
                    hear(voice, &utterance, random.below(2_000));
                }
                Some(ModelEvent::Words { utterance, text, is_final: random.one_in(2) })
            }
            4..8 => {
                let name = *random.pick(&["instant", "quick", "slow", "undeclared"]);
                let again = open.filter(|_| random.one_in(9));
                let id = again.unwrap_or_else(|| ToolCallId::new(format!("tc{number}")));
                let (name, arguments_json) = (name.to_owned(), "{}".into());
                Some(ModelEvent::ToolCall { response, id, name, arguments_json })
            }
            _ => {
                let outcome = match random.below(8) {
                    _ if !answer.is_wanted() => ResponseOutcome::Cancelled,
                    0 => ResponseOutcome::Failed("odd".into()),
                    1 => ResponseOutcome::Incomplete,
                    _ => ResponseOutcome::Completed,
                };
                for spoken in voice.iter_mut() {
                    spoken.is_complete = true;
                }
                mind.answer = None;
                Some(ModelEvent::ResponseDone { response, outcome })
            }
        }
    }
}

impl Mind {
    fn answer(&mut self, random: &mut Random) -> ModelEvent {
        let mut answer = Answer::new(random);
        answer.is_told = true;
        let response = answer.id.clone();
        self.answer = Some(answer);
        self.turn_is_over = false;
        ModelEvent::ResponseStarted { response }
    }
}

/// More of an utterance is to be heard.
fn hear(voice: &mut std::collections::VecDeque<Spoken>, utterance: &UtteranceId, more_ms: u64) {
    if let Some(spoken) = voice.iter_mut().find(|spoken| spoken.utterance == *utterance) {
        spoken.received_ms += more_ms;
        return;
    }
    voice.push_back(Spoken {
        utterance: utterance.clone(),
        has_begun: false,
        is_complete: false,
        received_ms: more_ms,
    });
}
