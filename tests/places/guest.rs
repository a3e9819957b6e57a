//! An agent's end of a stay, played by hand: it sings tones and hears which are sung.

use std::f32::consts::TAU;
use std::time::Duration;

use callbridge::agent::{JoinRequest, Participant, RoomEvent};
use callbridge::ids::{CallId, ParticipantId};
use callbridge::media::{Decoder, Encoder, Frame24k, OpusPacket};
use callbridge::privacy::Secret;
use callbridge::rooms::RoomLink;
use callbridge::sys::clock;
use callbridge::sys::tasks::{self, Task};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::venue::Venue;

/// Somebody in a room, or on the way into it.
pub(crate) struct Guest {
    link: Link,
    others: Vec<Participant>,
    /// What was told, and not asked for yet.
    unread: Vec<RoomEvent>,
    ear: Ear,
    tone: watch::Sender<Option<f32>>,
    _voice: Task,
}

struct Link {
    packets: mpsc::Receiver<OpusPacket>,
    events: mpsc::Receiver<RoomEvent>,
}

struct Ear {
    decoder: Decoder,
    samples: Vec<i16>,
}

impl Guest {
    /// Knocks.
    pub(crate) fn join(venue: &Venue, name: &str) -> Self {
        Self::join_at(venue, name, &venue.url(), venue.token())
    }

    /// Knocks at another door.
    pub(crate) fn join_at(venue: &Venue, name: &str, url: &str, token: Option<Secret>) -> Self {
        let link = venue.places.join(&JoinRequest {
            call: CallId::new("call_test"),
            room_url: url.to_owned(),
            token,
            participant_name: Some(name.to_owned()),
        });
        let RoomLink { packets, events, playout } = link;
        let (tone, wanted) = watch::channel(None);
        let voice = tasks::spawn("voice", sing(playout, wanted));
        let ear = Ear { decoder: Decoder::new().unwrap(), samples: Vec::new() };
        let link = Link { packets, events };
        Self { link, others: Vec::new(), unread: Vec::new(), ear, tone, _voice: voice }
    }

    /// Comes in.
    pub(crate) async fn enter(venue: &Venue, name: &str) -> Self {
        let mut guest = Self::join(venue, name);
        let told = guest.event().await;
        let RoomEvent::Joined { participants } = told else {
            panic!("{name} does not get in: {told:?}")
        };
        guest.others = participants;
        guest
    }

    /// The names of those who were there before.
    pub(crate) fn others(&self) -> Vec<&str> {
        self.others.iter().map(|other| other.name.as_str()).collect()
    }

    /// Whether nothing has put it out.
    pub(crate) fn is_in(&self) -> bool {
        !self.link.events.is_closed()
            && !self.unread.iter().any(|event| matches!(event, RoomEvent::Failed(_)))
    }

    pub(crate) async fn event(&mut self) -> RoomEvent {
        self.event_within(PATIENCE).await
    }

    pub(crate) async fn event_within(&mut self, limit: Duration) -> RoomEvent {
        let told = timeout(limit, self.link.events.recv()).await.expect("it is told in time");
        told.expect("the link ends with a last word")
    }

    /// Waits until something is told that fits.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        fits: impl Fn(RoomEvent) -> Option<T>,
    ) -> T {
        loop {
            let told = self.event_within(PATIENCE * 2).await;
            if let Some(found) = fits(told.clone()) {
                return found;
            }
            assert!(!matches!(told, RoomEvent::Failed(_)), "before {what}: {told:?}");
        }
    }

    /// Waits until somebody of this name is in.
    pub(crate) async fn met(&mut self, name: &str) -> ParticipantId {
        let joined = self.until("somebody's coming", |event| {
            let RoomEvent::ParticipantJoined(who) = event else { return None };
            (who.name == name).then_some(who.id)
        });
        joined.await
    }

    /// Sings until told otherwise.
    pub(crate) fn sings(&mut self, hertz: f32) {
        self.tone.send_replace(Some(hertz));
    }

    pub(crate) fn falls_silent(&mut self) {
        self.tone.send_replace(None);
    }

    /// Waits until half a second of this tone was heard.
    pub(crate) async fn hears(&mut self, hertz: f32) {
        self.listen(&format!("{hertz} Hz"), |ear| ear.strength(hertz) > AUDIBLE).await;
    }

    /// Waits until half a second without this tone was heard, or nothing came for as long.
    pub(crate) async fn hears_nothing_of(&mut self, hertz: f32) {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "{hertz} Hz goes on");
            match timeout(SILENCE, self.link.packets.recv()).await {
                Ok(packet) => self.ear.take(&packet.expect("the link stands")),
                Err(_) => return,
            }
            if self.ear.samples.len() >= WINDOW && self.ear.strength(hertz) < AUDIBLE / 10.0 {
                return;
            }
        }
    }

    /// Waits until anything is heard.
    pub(crate) async fn hears_anybody(&mut self) {
        self.listen("anybody", |ear| ear.loudness() > AUDIBLE).await;
    }

    async fn listen(&mut self, what: &str, is_heard: impl Fn(&Ear) -> bool) {
        let hearing = async {
            loop {
                tokio::select! {
                    packet = self.link.packets.recv() => {
                        self.ear.take(&packet.expect("the link stands"));
                    }
                    event = self.link.events.recv() => {
                        let event = event.expect("the link stands");
                        assert!(!matches!(event, RoomEvent::Failed(_)), "{event:?}");
                        self.unread.push(event);
                    }
                }
                if self.ear.samples.len() >= WINDOW && is_heard(&self.ear) {
                    return;
                }
            }
        };
        timeout(PATIENCE * 2, hearing).await.unwrap_or_else(|_| panic!("{what} is not heard"));
    }

    /// Sings a tone, leaves, and finds it in what the place has kept of it.
    pub(crate) async fn leave_and_find_what_it_said(mut self, venue: &Venue, hertz: f32) {
        self.sings(hertz);
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(self);
        venue.places.part().await;
        let mut kept = Ear { decoder: Decoder::new().unwrap(), samples: venue.kept() };
        kept.samples.truncate(kept.samples.len().saturating_sub(2400));
        assert!(kept.strength(hertz) > AUDIBLE, "{hertz} Hz is not in what was kept");
    }
}

impl Ear {
    fn take(&mut self, packet: &OpusPacket) {
        // What is no sound at all is no tone either.
        if packet.payload.is_empty() || self.decoder.decode(&packet.payload).is_err() {
            return;
        }
        while let Some(frame) = self.decoder.pull() {
            self.samples.extend(frame.iter());
        }
        let surplus = self.samples.len().saturating_sub(WINDOW);
        self.samples.drain(..surplus);
    }

    /// How strong a tone is at the end of what was heard (Goertzel's sum, written plainly).
    fn strength(&self, hertz: f32) -> f32 {
        let (mut sine, mut cosine, mut count) = (0.0, 0.0, 0.0_f32);
        for sample in self.last() {
            let angle = count / 24_000.0 * hertz * TAU;
            sine += angle.sin() * f32::from(*sample);
            cosine += angle.cos() * f32::from(*sample);
            count += 1.0;
        }
        sine.hypot(cosine) * 2.0 / count.max(1.0)
    }

    fn loudness(&self) -> f32 {
        let last = self.last();
        let power: f32 = last.iter().map(|sample| f32::from(*sample).powi(2)).sum();
        let count: f32 = last.iter().map(|_| 1.0).sum();
        (power / count.max(1.0)).sqrt()
    }

    fn last(&self) -> &[i16] {
        &self.samples[self.samples.len().saturating_sub(WINDOW)..]
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a packet each 20 ms while a tone is wanted, as an agent's pacer does.
async fn sing(playout: mpsc::Sender<OpusPacket>, wanted: watch::Receiver<Option<f32>>) {
    let mut encoder = Encoder::new().unwrap();
    let (mut number, mut was_silent) = (0_u16, true);
    let begun = Instant::now();
    while !playout.is_closed() {
        let tone = *wanted.borrow();
        if let Some(hertz) = tone {
            let payload = encoder.encode(&frame(hertz, number));
            // A place that takes nothing loses it, as it would an agent's.
            let _ = playout.try_send(OpusPacket {
                participant: ParticipantId::new("me"),
                sequence: number,
                timestamp: u32::from(number) * 960,
                marker: was_silent,
                payload,
                at: clock::now(),
            });
        }
        was_silent = tone.is_none();
        number += 1;
        sleep_until(begun + FRAME * u32::from(number)).await;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a tone of test strength")]
fn frame(hertz: f32, number: u16) -> Frame24k {
    let start = f32::from(number) * 480.0;
    Frame24k::new(std::array::from_fn(|sample| {
        let time = (start + f32::from(u16::try_from(sample).unwrap())) / 24_000.0;
        ((time * hertz * TAU).sin() * 6000.0) as i16
    }))
}

const FRAME: Duration = Duration::from_millis(20);

/// A bound on each wait, far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// So long without a packet is silence.
const SILENCE: Duration = Duration::from_millis(500);

/// Half a second at 24 kHz.
const WINDOW: usize = 12_000;

/// The amplitude from which a tone counts as heard; it is sung with 6000.
const AUDIBLE: f32 = 1000.0;
