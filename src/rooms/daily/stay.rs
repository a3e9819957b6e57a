//! A stay in a room of Daily, as the gateway's side of the helper's protocol.

use std::time::{Duration, Instant};

use reqwest::Url;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::MissedTickBehavior;

use super::pipe::{Pipe, PipeError};
use super::voices::Voices;
use super::wire::{Cause, Heard, Message, Order, Person, Report, VERSION};
use crate::agent::{Participant, RoomEvent, RoomFailure};
use crate::ids::ParticipantId;
use crate::media::{CodecError, OpusPacket};
use crate::meter::{Counter, Meter, Stage};
use crate::privacy::{Pii, Secret};
use crate::rooms::FarEnd;
use crate::sys::clock;

/// An agent's end, the helper's end, and how far they have come together.
#[derive(Debug)]
pub(super) struct Stay {
    far: FarEnd,
    pipe: Pipe,
    voices: Voices,
    meter: Meter,
    place: Place,
}

/// How far we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The helper has not said hello.
    Starting { deadline: Instant },
    /// It was told to join.
    Joining { deadline: Instant },
    /// We are in.
    In,
}

/// Why a stay is over before the agent has left.
#[derive(Debug, Error)]
enum End {
    #[error(transparent)]
    Pipe(#[from] PipeError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the helper was not heard of for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the helper did not start within {} s", JOIN.as_secs())]
    NotStarted,
    #[error("Daily did not let us in within {} s", JOIN.as_secs())]
    NotJoined,
    #[error("the helper speaks version {0} of its protocol, and the gateway {VERSION}")]
    Version(u32),
    #[error("{1}")]
    Over(Cause, String),
    /// Not a failure: the agent has left, or does not take what it is told.
    #[error("the agent has left")]
    Left,
}

impl End {
    /// Whether it is the helper that has failed, and not the room.
    const fn is_the_helpers(&self) -> bool {
        match self {
            Self::Pipe(_) | Self::Silent | Self::NotStarted | Self::Version(_) => true,
            Self::Codec(_) | Self::NotJoined | Self::Over(..) | Self::Left => false,
        }
    }
}

impl Stay {
    /// A stay that has not begun. Without codecs the agent's end is given back.
    pub(super) fn new(far: FarEnd, pipe: Pipe, meter: Meter) -> Result<Self, (FarEnd, CodecError)> {
        let place = Place::Starting { deadline: clock::now() + JOIN };
        match Voices::new() {
            Ok(voices) => Ok(Self { far, pipe, voices, meter, place }),
            Err(error) => Err((far, error)),
        }
    }

    /// The stay until the agent leaves, or until it is over for a reason.
    pub(super) async fn run(
        &mut self,
        url: &Url,
        token: Option<&Secret>,
    ) -> Result<(), RoomFailure> {
        let end = self.live(url, token).await;
        if end.is_the_helpers() {
            tracing::warn!(%end, "the helper of a Daily room has failed");
        }
        if matches!(end, End::Left) { Ok(()) } else { Err(failure(&end, self.place == Place::In)) }
    }

    /// The agent is told why it does not get in, or is out.
    pub(super) fn fail(&self, failure: RoomFailure) {
        self.far.fail(failure);
    }

    /// What is left for the goodbye; the agent's end is closed with this.
    pub(super) fn into_pipe(self) -> Pipe {
        self.pipe
    }

    async fn live(&mut self, url: &Url, token: Option<&Secret>) -> End {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (deadline, late) = self.deadline();
            let outcome = tokio::select! {
                said = self.far.playout.recv() => match said {
                    Some(packet) => {
                        self.say(&packet);
                        Ok(())
                    }
                    None => Err(End::Left),
                },
                message = self.pipe.next() => match message {
                    Ok(Message::Heard(heard)) => self.hear(&heard),
                    Ok(Message::Report(Report::Hello { version, package })) => {
                        self.on_hello(version, &package, url, token)
                    }
                    Ok(Message::Report(report)) => self.on_report(report),
                    Err(error) => Err(error.into()),
                },
                _ = beat.tick() => self.pipe.order(&Order::Beat).map_err(End::from),
                () = tokio::time::sleep_until(deadline.into()) => Err(late),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// When it is too late, and for what.
    fn deadline(&self) -> (Instant, End) {
        let silent = (self.pipe.heard_at() + SILENCE, End::Silent);
        let late = match self.place {
            // To load Daily's package may take longer than between two beats.
            Place::Starting { deadline } => return (deadline, End::NotStarted),
            Place::Joining { deadline } => (deadline, End::NotJoined),
            Place::In => return silent,
        };
        if late.0 < silent.0 { late } else { silent }
    }

    fn say(&mut self, packet: &OpusPacket) {
        if self.place != Place::In {
            return;
        }
        for frame in self.voices.say(packet) {
            if !self.pipe.say(&frame) {
                tracing::debug!("the helper of a Daily room does not read: a frame is skipped");
            }
        }
        let taken = clock::now().saturating_duration_since(packet.at);
        self.meter.observe(Stage::DownlinkSend, taken);
    }

    fn hear(&mut self, heard: &Heard) -> Result<(), End> {
        // To encode what has no place would only cost time.
        if self.far.packets.capacity() == 0 {
            self.meter.count(Counter::DroppedAgent);
            return Ok(());
        }
        let Some(packet) = self.voices.hear(heard)? else { return Ok(()) };
        if let Err(TrySendError::Full(_)) = self.far.packets.try_send(packet) {
            self.meter.count(Counter::DroppedAgent);
        }
        Ok(())
    }

    fn on_hello(
        &mut self,
        version: u32,
        package: &str,
        url: &Url,
        token: Option<&Secret>,
    ) -> Result<(), End> {
        if version != VERSION {
            return Err(End::Version(version));
        }
        if let Place::Starting { deadline } = self.place {
            tracing::debug!(package, "the helper of a Daily room has started");
            self.place = Place::Joining { deadline };
            let (token, name) = (token.map(Secret::expose), self.far.me.name.as_str());
            self.pipe.order(&Order::Join { url: url.as_str(), token, name })?;
        }
        Ok(())
    }

    fn on_report(&mut self, report: Report) -> Result<(), End> {
        match report {
            Report::Joined { participants } => self.on_joined(participants),
            Report::ParticipantJoined(person) if self.place == Place::In => {
                match self.enter(person) {
                    Some(new) => self.tell(RoomEvent::ParticipantJoined(new)),
                    None => Ok(()),
                }
            }
            Report::ParticipantLeft { id, reason } => self.on_left(&id, &reason),
            Report::Over { cause, detail } => Err(End::Over(cause, shortened(detail))),
            Report::Left => Err(End::Over(Cause::Other, "the helper has left the room".into())),
            Report::ParticipantUpdated(person) => {
                tracing::debug!(id = person.id, name = %Pii::new(person.name), "another name");
                Ok(())
            }
            Report::ActiveSpeaker { id } => {
                tracing::trace!(id, "Daily's active speaker");
                Ok(())
            }
            Report::AppMessage { sender, text } => self.on_message(&sender, text),
            Report::Network { connection, state } => {
                tracing::debug!(connection, state, "a connection to Daily");
                Ok(())
            }
            Report::Hello { .. }
            | Report::ParticipantJoined(_)
            | Report::Beat
            | Report::Unknown => Ok(()),
        }
    }

    fn on_joined(&mut self, people: Vec<Person>) -> Result<(), End> {
        let Place::Joining { .. } = self.place else { return Ok(()) };
        self.place = Place::In;
        let participants = people.into_iter().filter_map(|person| self.enter(person)).collect();
        self.tell(RoomEvent::Joined { participants })
    }

    fn on_left(&mut self, id: &str, reason: &str) -> Result<(), End> {
        let id = ParticipantId::new(id);
        if !self.voices.leave(&id) {
            return Ok(());
        }
        let reason = match reason {
            "leftCall" => "left the call".to_owned(),
            "hidden" => "cannot be seen any more".to_owned(),
            other => shortened(other.to_owned()),
        };
        self.tell(RoomEvent::ParticipantLeft { id, reason })
    }

    /// Messages may come in floods: they take no place that other news will need.
    fn on_message(&self, sender: &str, mut text: String) -> Result<(), End> {
        if self.far.events.capacity() <= self.far.events.max_capacity() / 2 {
            tracing::debug!(sender, "a message in the room is dropped: too many at once");
            return Ok(());
        }
        truncate(&mut text, TEXT_MAX);
        let (id, text) = (ParticipantId::new(sender), Pii::new(text));
        self.tell(RoomEvent::Message { id, text })
    }

    fn enter(&mut self, person: Person) -> Option<Participant> {
        let id = ParticipantId::new(person.id);
        self.voices.enter(&id).then(|| Participant { id, name: shortened(person.name) })
    }

    /// An agent that does not take what it is told is out.
    fn tell(&self, event: RoomEvent) -> Result<(), End> {
        self.far.events.try_send(event).map_err(|_| End::Left)
    }
}

/// What the agent is told when a stay ends so.
fn failure(end: &End, is_in: bool) -> RoomFailure {
    let lost = |why: String| match is_in {
        true => RoomFailure::Closed(why),
        false => RoomFailure::Unreachable(why),
    };
    let End::Over(cause, detail) = end else { return lost(end.to_string()) };
    let why = |words: &str| match detail.as_str() {
        "" => words.to_owned(),
        detail => format!("{words}: {detail}"),
    };
    match cause {
        Cause::NotFound => RoomFailure::NotFound,
        Cause::Unauthorized | Cause::TokenExpired => RoomFailure::Unauthorized,
        Cause::Full => RoomFailure::Full,
        Cause::Media => RoomFailure::Media(why("Daily")),
        Cause::Ejected => RoomFailure::Closed(why("sent out")),
        Cause::Ended => RoomFailure::Closed(why("the meeting is over")),
        Cause::Unreachable => lost(why("Daily is out of reach")),
        Cause::NoPackage => lost(why("`make deps-daily` has not been run")),
        Cause::Other => lost(why("Daily")),
    }
}

/// Words of others that clients may see.
fn shortened(mut words: String) -> String {
    truncate(&mut words, WORDS_MAX);
    words
}

fn truncate(words: &mut String, chars_max: usize) {
    if let Some((end, _)) = words.char_indices().nth(chars_max) {
        words.truncate(end);
    }
}

/// How long the helper may take to start and to join: less than an agent waits for it.
const JOIN: Duration = Duration::from_secs(15);

/// How often each side says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How long nothing may be heard of the helper.
const SILENCE: Duration = Duration::from_secs(5);

/// Characters of a name or a reason that are kept.
const WORDS_MAX: usize = 200;

/// Characters of a message that are kept.
const TEXT_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_code() {
        let codes =
            |is_in| CAUSES.map(|cause| failure(&End::Over(cause, String::new()), is_in).code());
        assert_eq!(
            codes(false),
            [
                "ROOM_NOT_FOUND",
                "ROOM_UNAUTHORIZED",
                "ROOM_UNAUTHORIZED",
                "ROOM_FULL",
                "MEDIA_FAILED",
                "ROOM_CLOSED",
                "ROOM_CLOSED",
                "ROOM_UNREACHABLE",
                "ROOM_UNREACHABLE",
                "ROOM_UNREACHABLE",
            ]
        );
        assert_eq!(codes(true)[7..], ["ROOM_CLOSED"; 3]);
    }

    #[test]
    fn words_of_others_are_kept_short() {
        assert_eq!(shortened("é".repeat(300)), "é".repeat(200));
        assert_eq!(shortened("short".into()), "short");
    }

    const CAUSES: [Cause; 10] = [
        Cause::NotFound,
        Cause::Unauthorized,
        Cause::TokenExpired,
        Cause::Full,
        Cause::Media,
        Cause::Ejected,
        Cause::Ended,
        Cause::Unreachable,
        Cause::NoPackage,
        Cause::Other,
    ];
}
