//! The shell of a conversation: an actor that gives it sockets, queues and time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::conversation::Conversation;
use super::ports::{LinkId, Output, WallClock};
use super::socket::{CLOSE_LIMIT, Line, News, ping};
use crate::agent::{AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure};
use crate::meter::Meter;
use crate::models::wire::FrameWriter;
use crate::models::{Arrived, HeardFrame, ModelItem, ModelProfile, OnTheWay};
use crate::sys::clock;
use crate::sys::tasks::Task;

/// The session's ends of the link.
#[derive(Debug)]
pub(super) struct Ports {
    /// None in text.
    pub(super) audio: Option<mpsc::Receiver<HeardFrame>>,
    pub(super) actions: mpsc::Receiver<ModelAction>,
    pub(super) items: mpsc::Sender<Arrived>,
    pub(super) meter: Meter,
}

/// Runs a conversation to its end; the last item says why, if nobody asked for it.
pub(super) async fn run(profile: ModelProfile, spec: AgentSpec, medium: Medium, ports: Ports) {
    let name = profile.name.clone();
    let items = ports.items.clone();
    let wall_clock = WallClock { now: clock::now(), unix_ms: clock::unix_ms() };
    let ended = match Conversation::new(&profile, &spec, medium, wall_clock) {
        Ok(conversation) => Session::new(profile, medium, conversation, ports).run().await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = ended {
        tracing::info!(profile = name, code = failure.code(), "a model session failed");
        // A link that is gone has nobody to tell.
        let item = ModelItem::Event(ModelEvent::Failed(failure));
        let _ = items.send(Arrived { item, at: clock::now() }).await;
    }
}

/// A conversation and what it needs.
struct Session {
    profile: ModelProfile,
    medium: Medium,
    conversation: Conversation,
    ports: Ports,
    /// What the agent has not taken yet. While there is something, no socket is read.
    waiting: VecDeque<Arrived>,
    lines: Vec<Line>,
    /// Sockets on which we are saying goodbye.
    closing: Vec<Task>,
    /// For frames on their way out, and for whom.
    writer: Option<(LinkId, FrameWriter)>,
    /// When what is dealt with has come.
    now: Instant,
    /// Since when the frame that is dealt with is on its way, if one is.
    frame: Option<OnTheWay>,
}

/// What has happened.
#[expect(clippy::large_enum_variant, reason = "a frame is handed on, never kept")]
enum Input {
    Action(ModelAction),
    Frame(HeardFrame),
    News(LinkId, News),
    /// Something has waited long enough.
    Deadline,
    /// An item was taken.
    Nothing,
    /// The agent wants no session any more.
    Closed,
}

impl Session {
    fn new(
        profile: ModelProfile,
        medium: Medium,
        conversation: Conversation,
        ports: Ports,
    ) -> Self {
        Self {
            profile,
            medium,
            conversation,
            ports,
            waiting: VecDeque::new(),
            lines: Vec::new(),
            closing: Vec::new(),
            writer: None,
            now: clock::now(),
            frame: None,
        }
    }

    /// One input, everything that follows from it, and again.
    async fn run(mut self) -> Result<(), ModelFailure> {
        loop {
            if let Some(ended) = self.obey() {
                self.deliver_rest().await;
                if ended.is_ok() {
                    self.say_goodbye().await;
                }
                return ended;
            }
            let input = self.next_input().await;
            let now = clock::now();
            (self.now, self.frame) = (now, None);
            match input {
                Input::Action(action) => self.conversation.handle_action(action, now),
                Input::Closed => self.conversation.handle_action(ModelAction::Close, now),
                Input::Frame(heard) => {
                    self.frame = Some(heard.on_the_way);
                    self.conversation.handle_frame(&heard.frame, now);
                }
                Input::News(link, news) => self.pass_on(link, news, now),
                Input::Deadline => self.handle_timeout(now),
                Input::Nothing => {}
            }
        }
    }

    /// Does what the conversation wants. Comes back with its end, if that is what it wants.
    fn obey(&mut self) -> Option<Result<(), ModelFailure>> {
        while let Some(output) = self.conversation.poll_output() {
            match output {
                Output::Connect(link) => {
                    let meter = self.ports.meter.clone();
                    self.lines.push(Line::open(link, &self.profile, self.medium, meter));
                }
                Output::Send { link, text } => self.send(link, Message::text(text), None),
                Output::SendFrame { link, frame } => self.send_frame(link, frame),
                Output::Ping(link) => self.send(link, ping(), None),
                Output::Close(link) => self.close(link),
                Output::Item(item) => self.waiting.push_back(Arrived { item, at: self.now }),
                Output::Ended(ended) => return Some(ended),
            }
        }
        None
    }

    /// Waits for something to happen. While the agent has not taken what there is, nothing more
    /// is read, and TCP pushes back; what the agent says still goes out.
    async fn next_input(&mut self) -> Input {
        let has_items = !self.waiting.is_empty();
        poll_fn(|cx| {
            self.lines.iter_mut().for_each(|line| line.poll_send(cx));
            Poll::Ready(())
        })
        .await;
        let limits = self.lines.iter().filter_map(Line::send_limit);
        let deadline = limits.chain(self.conversation.poll_timeout()).min();
        let lines = &mut self.lines;
        tokio::select! {
            action = self.ports.actions.recv() => match action {
                None => Input::Closed,
                Some(action) => Input::Action(action),
            },
            permit = self.ports.items.reserve(), if has_items => {
                let Ok(permit) = permit else { return Input::Closed };
                if let Some(item) = self.waiting.pop_front() {
                    permit.send(item);
                }
                Input::Nothing
            }
            (link, news) = poll_fn(|cx| news_of(lines, cx, !has_items)) => {
                Input::News(link, news)
            }
            Some(frame) = next_frame(&mut self.ports.audio) => Input::Frame(frame),
            () = until(deadline) => Input::Deadline,
        }
    }

    fn pass_on(&mut self, link: LinkId, news: News, now: Instant) {
        match news {
            News::Connected => self.conversation.on_connected(link, now),
            News::Refused(error) => {
                self.lines.retain(|line| line.link != link);
                self.conversation.on_refused(link, &error, now);
            }
            News::Text(text) => self.conversation.handle_text(link, &text, now),
            News::Alive => self.conversation.on_alive(link, now),
            News::Closed { code, reason } => {
                self.lines.retain(|line| line.link != link);
                self.conversation.on_closed(link, code, &reason, now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.waiting.is_empty() {
            // We are not reading, so silence says nothing about the other ends.
            for line in &self.lines {
                self.conversation.on_alive(line.link, now);
            }
        }
        self.conversation.handle_timeout(now);
    }

    fn send_frame(&mut self, link: LinkId, number: u64) {
        let Some(frame) = self.conversation.frame(number) else { return };
        // Each server hears one stream from its beginning.
        let (_, writer) = match self.writer.take() {
            Some(writer) if writer.0 == link => self.writer.insert(writer),
            _ => self.writer.insert((link, FrameWriter::new(self.profile.dialect.hears))),
        };
        let bytes = writer.append(frame);
        // Base64 between two constants is text; were it not, the frame would be worth nothing.
        if let Ok(text) = Utf8Bytes::try_from(bytes) {
            self.send(link, Message::Text(text), self.frame);
        }
    }

    fn send(&mut self, link: LinkId, message: Message, frame: Option<OnTheWay>) {
        let Some(line) = self.lines.iter_mut().find(|line| line.link == link) else { return };
        if !line.send(message, frame) {
            self.lines.retain(|line| line.link != link);
            let reason = "it takes nothing any more";
            self.conversation.on_closed(link, None, reason, clock::now());
        }
    }

    /// Hangs up, and lets nobody wait for it.
    fn close(&mut self, link: LinkId) {
        self.closing.retain(|task| !task.is_finished());
        if let Some(at) = self.lines.iter().position(|line| line.link == link) {
            self.closing.extend(self.lines.swap_remove(at).hang_up());
        }
    }

    /// Gives the servers a moment to hear that we are gone.
    async fn say_goodbye(&mut self) {
        let closing = std::mem::take(&mut self.closing);
        if timeout(CLOSE_LIMIT, join_all(closing)).await.is_err() {
            tracing::debug!("a model's server did not hear us go");
        }
    }

    /// What came before the end belongs before the end.
    async fn deliver_rest(&mut self) {
        while let Some(item) = self.waiting.pop_front() {
            // A link that is gone has nobody to tell.
            let _ = self.ports.items.send(item).await;
        }
    }
}

/// The next frame that the model is to hear; in text none ever comes.
async fn next_frame(audio: &mut Option<mpsc::Receiver<HeardFrame>>) -> Option<HeardFrame> {
    match audio {
        Some(audio) => audio.recv().await,
        None => None,
    }
}

/// What there is to tell of any socket, which is given on the way what it takes.
fn news_of(lines: &mut [Line], cx: &mut Context<'_>, read: bool) -> Poll<(LinkId, News)> {
    for line in lines {
        line.poll_send(cx);
        if let Poll::Ready(news) = line.poll_news(cx, read) {
            return Poll::Ready((line.link, news));
        }
    }
    Poll::Pending
}

/// Waits until something is due; forever, if nothing is.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
