//! `callbridge demo`: one complete call with an agent, with real parts, on this machine.

mod tap;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use self::tap::{Note, Tap};
use super::caller::{Caller, Mark};
use super::house::House;
use super::socketio::SocketClient;
use super::timeline::Timeline;
use super::wav;
use crate::app::Minds;
use crate::config::Config;
use crate::sys::clock;

/// What `callbridge demo` takes besides the settings.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Another question than the recorded one: a WAV of any rate.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Where the caller's recording of the answer goes.
    #[arg(long, value_name = "FILE", default_value = "answer.wav")]
    out: PathBuf,
    /// Print the timeline as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Plays the call; an error if anything in it is not as it should be.
pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let question = match &args.wav {
        Some(path) => wav::read(path)?,
        None => wav::read_from(QUESTION, "the recorded question")?,
    };
    let timeline = Timeline::new(args.json);
    let (house, mut tap) = open(config).await?;
    timeline.step("gateway", &format!("listens on {}", house.at()));
    let played = tokio::time::timeout(LONGEST, async {
        let mut scene = Scene::open(&timeline, &house).await?;
        let moments = scene.play(question, &args.out).await?;
        scene.close(&house).await?;
        report(&timeline, &moments, &mut tap)
    });
    let played = played.await.unwrap_or_else(|_| bail!("the call did not end in {LONGEST:?}"));
    // The house is closed in any case, and says if it could not be.
    house.close().await?;
    played?;
    timeline.say("\nThe call is over, the agent has ended, and nothing is left.");
    Ok(())
}

/// Starts the gateway with a tap in front of the default model.
async fn open(config: Config) -> anyhow::Result<(House, Tap)> {
    let mut minds = Minds::open(&config.model).await?;
    let profile = minds.models.profiles.get_mut(&minds.models.default);
    let profile = profile.context("the default model has no profile")?;
    let tap = Tap::open(profile.url.clone()).await?;
    profile.url = tap.url();
    Ok((House::open(config, minds).await?, tap))
}

/// An agent, its client, and the caller.
struct Scene<'a> {
    timeline: &'a Timeline,
    agent: String,
    client: SocketClient,
    whip_url: String,
}

/// When what matters happened.
struct Moments {
    said: Instant,
    transcript: Instant,
    first_packet: Instant,
    wav: String,
}

/// What has been noticed so far of an answer.
#[derive(Default)]
struct Progress {
    said: Option<Instant>,
    transcript: Option<Instant>,
    first_packet: Option<Instant>,
    spoken: bool,
}

impl<'a> Scene<'a> {
    async fn open(timeline: &'a Timeline, house: &House) -> anyhow::Result<Self> {
        let agent = house
            .create_agent(
                Duration::from_secs(600),
                &json!({
                    "className": "Assistant",
                    "personality": "Friendly and brief.",
                    "instructions":
                        "Answer what the caller asks, in one or two short sentences.",
                    "tools": [],
                    "voice": { "enabled": true },
                }),
            )
            .await?;
        timeline.step("agent", &format!("{agent} created over REST"));
        let client = SocketClient::connect(house.at(), &agent, house.key()).await?;
        timeline.step("client", "connected over Socket.IO");
        let whip_url = format!("http://{}/rooms/demo/whip?name=Caller", house.at());
        Ok(Self { timeline, agent, client, whip_url })
    }

    /// The call itself: in, a question, an answer, out.
    async fn play(&mut self, question: Vec<i16>, out: &Path) -> anyhow::Result<Moments> {
        self.command(json!({"type": "join-daily-room", "roomUrl": "rooms/demo"})).await?;
        self.wait_for("room_joined").await?;
        let mut caller = Caller::dial(&self.whip_url, None).await?;
        self.timeline.step("caller", "is up: ICE, DTLS, SRTP, Opus");
        self.wait_for("participant_joined").await?;
        caller.say(question).await?;
        let progress = self.follow(&mut caller).await?;
        self.command(json!({"type": "leave-daily-room"})).await?;
        self.wait_for("room_left").await?;
        let heard = caller.hang_up().await?;
        ensure!(!heard.is_empty(), "the caller has heard nothing");
        wav::write(out, &heard)?;
        let seconds = wav::seconds(&heard);
        let wav = format!("{} ({seconds:.1} s)", out.display());
        self.timeline.step("recording", &wav);
        Ok(Moments {
            said: progress.said.context("the question was not said")?,
            transcript: progress.transcript.context("the question was not understood")?,
            first_packet: progress.first_packet.context("no answer was heard")?,
            wav,
        })
    }

    /// Follows the call until the answer has been heard to its end.
    async fn follow(&mut self, caller: &mut Caller) -> anyhow::Result<Progress> {
        let mut progress = Progress::default();
        while !progress.spoken {
            tokio::select! {
                event = self.client.next() => {
                    let event = event?.context("the agent's client was disconnected")?;
                    self.timeline.event(&event);
                    progress.on_event(&event)?;
                }
                mark = caller.mark() => self.on_mark(mark, &mut progress)?,
            }
        }
        Ok(progress)
    }

    fn on_mark(&self, mark: Option<Mark>, progress: &mut Progress) -> anyhow::Result<()> {
        match mark {
            None | Some(Mark::Lost) => bail!("the caller has lost the call"),
            Some(Mark::Said(at)) => {
                progress.said = Some(at);
                self.timeline.noticed(at, "speech end", "the caller has said everything");
            }
            Some(Mark::FirstPacket(at)) if progress.first_packet.is_none() => {
                progress.first_packet = Some(at);
                self.timeline.noticed(at, "first audio", "the caller hears the answer");
            }
            Some(Mark::FirstPacket(_) | Mark::SpeechStarted(_) | Mark::SpeechStopped(_)) => {}
        }
        Ok(())
    }

    async fn command(&mut self, message: Value) -> anyhow::Result<()> {
        let answer = self.client.ask(&message).await?;
        ensure!(answer["ok"] == true, "{} was refused: {answer}", message["type"]);
        Ok(())
    }

    async fn wait_for(&mut self, kind: &str) -> anyhow::Result<()> {
        loop {
            let event = self.client.next().await?.context("the client was disconnected")?;
            self.timeline.event(&event);
            fail_on_error(&event)?;
            if event["type"] == kind {
                return Ok(());
            }
        }
    }

    /// Ends the agent, and shows that nothing is left of it.
    async fn close(mut self, house: &House) -> anyhow::Result<()> {
        house.delete_agent(&self.agent).await?;
        while let Some(event) = self.client.next().await? {
            self.timeline.event(&event);
        }
        self.timeline.step("client", "disconnected by the server");
        house.show_nothing_is_left(&self.agent).await?;
        self.timeline.step("agent", "gone: 404 over REST, no task, no row");
        Ok(())
    }
}

impl Progress {
    fn on_event(&mut self, event: &Value) -> anyhow::Result<()> {
        match event["type"].as_str() {
            Some("transcript") if event["isFinal"] == true => {
                self.transcript = Some(clock::now());
            }
            Some("speak-status") if event["status"] == "finished" => self.spoken = true,
            _ => fail_on_error(event)?,
        }
        Ok(())
    }
}

fn fail_on_error(event: &Value) -> anyhow::Result<()> {
    let kind = event["type"].as_str().unwrap_or_default();
    let failed = matches!(kind, "error" | "transcriber_fatal_error");
    ensure!(!failed, "the agent reports an error: {}: {}", event["code"], event["message"]);
    Ok(())
}

/// How long the answer took, and whose time it was.
fn report(timeline: &Timeline, moments: &Moments, tap: &mut Tap) -> anyhow::Result<()> {
    let notes: Vec<Note> = tap.drain().collect();
    let answered = notes.iter().find_map(|note| match note {
        Note::Answered(at) => Some(*at),
        Note::Asked(_) => None,
    });
    let answered = answered.context("no sound came from the model")?;
    let asked = notes.iter().rev().find_map(|note| match note {
        Note::Asked(at) if *at < answered => Some(*at),
        Note::Asked(_) | Note::Answered(_) => None,
    });
    let asked = asked.context("no sound went to the model")?;
    let said = moments.said;
    let up = asked.saturating_duration_since(said);
    let down = moments.first_packet.saturating_duration_since(answered);
    let model = answered.saturating_duration_since(asked);
    let rows = [
        ("speech end -> transcript", ms(moments.transcript.saturating_duration_since(said))),
        ("speech end -> first audio heard", ms(moments.first_packet - said)),
        ("  the model: end of turn, words, answer, voice", ms(model)),
        ("  callbridge: caller -> model", ms(up)),
        ("  callbridge: model -> caller", ms(down)),
        ("  callbridge: both ways", ms(up + down)),
        ("the whole demo", format!("{:.1} s", timeline.elapsed().as_secs_f64())),
        ("recording", moments.wav.clone()),
    ];
    timeline.table("Latency", &rows);
    Ok(())
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// "Hello. What time is it?"
const QUESTION: &[u8] =
    include_bytes!("../../../fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav");

/// A question, an answer, and a slow machine.
const LONGEST: Duration = Duration::from_secs(120);
