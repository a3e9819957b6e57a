//! Recordings as rooms: a caller who was recorded before, and a record of what the agent says.

mod address;
mod record;

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{MissedTickBehavior, interval, timeout};

pub use self::address::Recording;
pub use self::record::Record;
use super::elsewhere::Elsewhere;
use super::{FarEnd, new_participant};
use crate::agent::{Participant, RoomEvent, RoomFailure};
use crate::media::{CodecError, FRAME_MS, Microphone, OpusPacket, RecordedCaller, Track};
use crate::meter::{Counter, Meter, Stage};
use crate::sys::{clock, tasks};

/// An agent's stay with such a caller.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) recording: Recording,
    pub(super) far: FarEnd,
    pub(super) tools: Elsewhere,
}

impl Visit {
    /// The whole stay: the caller speaks in real time, and the agent is recorded.
    pub(super) async fn run(self) {
        let Self { recording, mut far, tools } = self;
        let files = recording.clone();
        let opening = tasks::spawn_blocking(move || Ok((files.read()?, files.record()?)));
        let opened = match timeout(OPENING, opening).await {
            Ok(opened) => opened.unwrap_or_else(|_| Err(RoomFailure::Media(UNREAD.into()))),
            Err(_) => Err(RoomFailure::Unreachable("its files are not read in time".into())),
        };
        let call = opened.and_then(|(samples, record)| {
            let call = Call::new(&recording, samples, record);
            call.map_err(|error| RoomFailure::Media(error.to_string()))
        });
        match call {
            Ok(call) => call.run(&mut far, &tools.meter).await,
            Err(failure) => far.fail(failure),
        }
    }
}

/// A call with a recorded caller.
#[derive(Debug)]
struct Call {
    participant: Participant,
    caller: RecordedCaller,
    microphone: Microphone,
    track: Track,
    /// What was put on the track and is not in the record yet.
    heard: Vec<i16>,
    record: Option<Record>,
}

impl Call {
    fn new(
        recording: &Recording,
        samples: Vec<i16>,
        record: Option<Record>,
    ) -> Result<Self, CodecError> {
        let (participant, now) = (new_participant(), clock::now());
        Ok(Self {
            microphone: Microphone::new(participant.clone())?,
            participant: Participant { id: participant, name: recording.name() },
            caller: RecordedCaller::new(samples, recording.manners, now),
            track: Track::new(now)?,
            heard: Vec::new(),
            record,
        })
    }

    /// Goes on until the agent has left, or the caller hangs up.
    async fn run(mut self, far: &mut FarEnd, meter: &Meter) {
        let participants = vec![self.participant.clone()];
        if far.events.try_send(RoomEvent::Joined { participants }).is_err() {
            return;
        }
        let failure = self.talk(far, meter).await;
        self.track.rest(clock::now(), &mut self.heard);
        let ending = tasks::spawn_blocking(move || {
            let written = self.write();
            written.and_then(|()| self.record.map_or(Ok(()), Record::finish))
        });
        let written = ending.await.unwrap_or(Ok(()));
        if let Err(unwritten) = &written {
            tracing::info!("the record of a call is lost: {unwritten}");
        }
        if let Some(failure) = failure {
            far.fail(written.err().unwrap_or(failure));
        }
    }

    /// Both directions; why the room ends the call, unless the agent does.
    async fn talk(&mut self, far: &mut FarEnd, meter: &Meter) -> Option<RoomFailure> {
        let mut ticks = interval(Duration::from_millis(FRAME_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                said = far.playout.recv() => self.hear(&said?, meter),
                _ = ticks.tick() => {
                    self.speak(far, meter);
                    if let Err(failure) = self.write() {
                        return Some(failure);
                    }
                    if self.caller.is_over(clock::now()) {
                        return Some(self.hang_up(far));
                    }
                }
            }
        }
    }

    fn hear(&mut self, packet: &OpusPacket, meter: &Meter) {
        let now = clock::now();
        if self.track.push(packet, now, &mut self.heard) {
            self.caller.hear(now);
        }
        meter.observe(Stage::DownlinkSend, now.saturating_duration_since(packet.at));
    }

    fn speak(&mut self, far: &FarEnd, meter: &Meter) {
        let now = clock::now();
        let frame = self.caller.frame(now);
        let packet = self.microphone.packet(&frame, now);
        // A full queue is the agent's own loss; its ear sees the gap.
        if let Err(TrySendError::Full(_)) = far.packets.try_send(packet) {
            meter.count(Counter::DroppedAgent);
        }
        // What is under way may still lie before this moment.
        if let Some(until) = now.checked_sub(UNDER_WAY) {
            self.track.rest(until, &mut self.heard);
        }
    }

    fn write(&mut self) -> Result<(), RoomFailure> {
        let written = self.record.as_mut().map_or(Ok(()), |record| record.write(&self.heard));
        self.heard.clear();
        written
    }

    fn hang_up(&self, far: &FarEnd) -> RoomFailure {
        let (id, reason) = (self.participant.id.clone(), "hung up".to_owned());
        // An agent that does not take what it is told is out in any case.
        let _ = far.events.try_send(RoomEvent::ParticipantLeft { id, reason });
        RoomFailure::Closed("the recording is over".into())
    }
}

/// What is told when to read has gone wrong in a way that nobody foresaw.
const UNREAD: &str = "the recording cannot be read";

/// How long reading the recording may take, and making the record.
const OPENING: Duration = Duration::from_secs(15);

/// How long a packet of the agent's is on its way, at most.
const UNDER_WAY: Duration = Duration::from_millis(200);
