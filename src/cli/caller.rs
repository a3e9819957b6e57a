//! A caller: speaks from memory into a call, and remembers what it hears and when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::ids::ParticipantId;
use crate::media::{
    AUDIBLE, EdgeKind, FRAME_MS, Frame24k, Microphone, OpusPacket, SpeechConfig, Uplink,
    UplinkOutput, frames_of,
};
use crate::privacy::Secret;
use crate::rooms::whip::{self, Call};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// Marks that may wait to be read.
///
/// When full: the newest mark is lost; there are a few for each stretch of speech.
const MARKS_CAPACITY: usize = 64;

/// Orders that may wait.
///
/// When full: whoever gives one waits.
const ORDERS_CAPACITY: usize = 4;

/// A caller in a call. Dropping it falls silent without a goodbye.
#[derive(Debug)]
pub(super) struct Caller {
    orders: mpsc::Sender<Order>,
    marks: mpsc::Receiver<Mark>,
    _task: Task,
}

/// What the caller notices, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The last sound above silence of what it had to say has left.
    Said(Instant),
    /// The first packet after silence has come.
    FirstPacket(Instant),
    /// The other side has begun to speak, by ear.
    SpeechStarted(Instant),
    /// The other side has stopped speaking, by ear.
    SpeechStopped(Instant),
    /// The call is lost.
    Lost,
}

enum Order {
    Say(Vec<i16>),
    HangUp(oneshot::Sender<Vec<i16>>),
}

impl Caller {
    /// Calls a WHIP endpoint, and is heard from then on.
    pub(super) async fn dial(url: &str, token: Option<&Secret>) -> anyhow::Result<Self> {
        let call = whip::dial(url, token).await.with_context(|| format!("cannot call {url}"))?;
        let (orders, taken) = mpsc::channel(ORDERS_CAPACITY);
        let (told, marks) = mpsc::channel(MARKS_CAPACITY);
        let talk = Talk::new(call, told)?;
        Ok(Self { orders, marks, _task: tasks::spawn("caller", talk.run(taken)) })
    }

    /// Says these samples (24 kHz) in real time; returns at once.
    pub(super) async fn say(&self, samples: Vec<i16>) -> anyhow::Result<()> {
        self.orders.send(Order::Say(samples)).await.context("the call is over")
    }

    /// What the caller notices next; `None` when it has left.
    pub(super) async fn mark(&mut self) -> Option<Mark> {
        self.marks.recv().await
    }

    /// Leaves, and gives all that was heard, at 24 kHz, from the first packet on.
    pub(super) async fn hang_up(self) -> anyhow::Result<Vec<i16>> {
        let (reply, heard) = oneshot::channel();
        self.orders.send(Order::HangUp(reply)).await.context("the call is over")?;
        heard.await.context("the call is over")
    }
}

/// The two directions of a call, on one task.
struct Talk {
    call: Call,
    clock: Interval,
    mouth: Mouth,
    ear: Uplink,
    heard: Vec<i16>,
    last_packet: Option<Instant>,
    marks: mpsc::Sender<Mark>,
}

/// What is to be said, and the packets it becomes.
struct Mouth {
    frames: VecDeque<Frame24k>,
    loud_left: usize,
    microphone: Microphone,
}

enum Happened {
    Tick,
    Packet(Option<OpusPacket>),
    Order(Option<Order>),
}

impl Talk {
    fn new(call: Call, marks: mpsc::Sender<Mark>) -> anyhow::Result<Self> {
        let mut clock = interval(Duration::from_millis(FRAME_MS));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let ear = Uplink::new(SpeechConfig::default(), clock::now())?;
        let mouth = Mouth::new()?;
        Ok(Self { call, clock, mouth, ear, heard: Vec::new(), last_packet: None, marks })
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let happened = tokio::select! {
                packet = self.call.packets.recv() => Happened::Packet(packet),
                _ = self.clock.tick() => Happened::Tick,
                order = orders.recv() => Happened::Order(order),
            };
            match happened {
                Happened::Tick => self.on_tick(),
                Happened::Packet(Some(packet)) => self.on_packet(packet),
                Happened::Packet(None) => return self.mark(Mark::Lost),
                Happened::Order(Some(Order::Say(samples))) => self.mouth.open(&samples),
                Happened::Order(Some(Order::HangUp(reply))) => {
                    self.call.hang_up().await;
                    // Who has asked may have stopped waiting.
                    let _ = reply.send(self.heard);
                    return;
                }
                Happened::Order(None) => return,
            }
        }
    }

    /// Every 20 ms a packet leaves, of speech or of silence, as from a microphone.
    fn on_tick(&mut self) {
        let (packet, said_all) = self.mouth.next();
        self.call.send(&packet);
        let now = clock::now();
        if said_all {
            self.mark(Mark::Said(now));
        }
        if self.ear.poll_timeout().is_some_and(|at| at <= now) {
            self.ear.handle_timeout(now);
        }
        self.listen();
    }

    fn on_packet(&mut self, packet: OpusPacket) {
        let now = clock::now();
        let silent = self.last_packet.replace(now).is_none_or(|last| now - last > SILENCE);
        if silent {
            self.mark(Mark::FirstPacket(now));
        }
        self.ear.push(packet, now);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(output) = self.ear.poll() {
            match output {
                UplinkOutput::Frame(frame) => self.heard.extend_from_slice(&frame[..]),
                UplinkOutput::Edge(edge) => match edge.kind {
                    EdgeKind::Started => self.mark(Mark::SpeechStarted(edge.at)),
                    EdgeKind::Sustained => {}
                    EdgeKind::Stopped => self.mark(Mark::SpeechStopped(edge.at)),
                },
            }
        }
    }

    fn mark(&self, mark: Mark) {
        if self.marks.try_send(mark).is_err() {
            tracing::debug!(?mark, "nobody reads the caller's marks");
        }
    }
}

impl Mouth {
    fn new() -> anyhow::Result<Self> {
        let microphone = Microphone::new(ParticipantId::new("caller"))?;
        Ok(Self { frames: VecDeque::new(), loud_left: 0, microphone })
    }

    fn open(&mut self, samples: &[i16]) {
        self.frames.extend(frames_of(samples));
        let last_loud = self.frames.iter().rposition(|frame| frame.level() >= AUDIBLE);
        self.loud_left = last_loud.map_or(0, |at| at + 1);
    }

    /// The next packet, and whether the last audible frame is in it.
    fn next(&mut self) -> (OpusPacket, bool) {
        let frame = self.frames.pop_front().unwrap_or(Frame24k::SILENCE);
        let packet = self.microphone.packet(&frame, clock::now());
        let said_all = self.loud_left == 1;
        self.loud_left = self.loud_left.saturating_sub(1);
        (packet, said_all)
    }
}

/// So long without a packet, and the next one begins something new.
const SILENCE: Duration = Duration::from_millis(100);
