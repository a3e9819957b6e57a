//! The room itself, in paused time: no socket is in its way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callbridge::agent::{JoinRequest, RoomEvent, RoomFailure};
use callbridge::ids::{CallId, ParticipantId};
use callbridge::media::{Frame24k, Microphone, OpusPacket, Track, read_wav};
use callbridge::rooms::{Places, PlacesConfig, RoomLink, Rooms, RoomsConfig};
use callbridge::sys::clock;
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep_until};

#[tokio::test(start_paused = true)]
async fn stereo_of_another_rate_is_heard_as_a_participant_in_real_time() {
    let scene = Scene::new(44_100, 2);
    let mut link = scene.join("wait=0.1&quiet=0.5&patience=1");
    let joined = link.events.recv().await.unwrap();
    let RoomEvent::Joined { participants } = &joined else { panic!("{joined:?}") };
    assert_eq!(participants.len(), 1);
    assert_eq!(participants[0].name, "caller");
    let caller = participants[0].id.clone();
    let (begun, mut packets) = (clock::now(), Vec::new());
    while let Some(packet) = link.packets.recv().await {
        packets.push(packet);
    }
    assert!(packets.iter().all(|packet| packet.participant == caller));
    let paces: Vec<_> = packets.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(paces.iter().all(|pace| pace.as_millis() == 20), "{paces:?}");
    let heard = heard(&packets, begun.into());
    let stretches = stretches(&heard);
    assert_eq!(stretches.len(), 1, "{stretches:?}");
    assert!((80..=120).contains(&stretches[0].0), "{stretches:?}");
    assert!((1_080..=1_160).contains(&stretches[0].1), "{stretches:?}");
    let left = link.events.recv().await;
    assert!(
        matches!(&left, Some(RoomEvent::ParticipantLeft { id, .. }) if *id == caller),
        "{left:?}"
    );
    let closed = RoomFailure::Closed("the recording is over".into());
    assert_eq!(link.events.recv().await, Some(RoomEvent::Failed(closed)));
    assert_eq!(link.events.recv().await, None);
    assert!((2_080..=2_180).contains(&(clock::now() - begun).as_millis()), "said, and waited");
}

#[tokio::test(start_paused = true)]
async fn the_agents_voice_is_recorded_where_it_was_heard() {
    let scene = Scene::new(24_000, 1);
    let mut link = scene.join("quiet=1");
    let begun = joined(&mut link).await;
    speak(&link.playout, begun, 700..900).await;
    speak(&link.playout, begun, 2_000..3_000).await;
    ended(&mut link).await;
    let sound = scene.record();
    assert_eq!(stretches(&sound), [(700, 900), (2_000, 3_000)]);
    let lasted = sound.len() / 24;
    assert!((3_960..=4_060).contains(&lasted), "a second of quiet after it: {lasted} ms");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_wants_to_be_greeted_waits_for_it() {
    let scene = Scene::new(24_000, 1);
    let mut link = scene.join("wait=greeting&quiet=0.1&patience=0.1");
    let begun = joined(&mut link).await;
    let playout = link.playout.clone();
    let mut packets = Vec::new();
    let listening = async {
        while let Some(packet) = link.packets.recv().await {
            packets.push(packet);
        }
    };
    tokio::join!(speak(&playout, begun, 2_000..3_000), listening);
    let first = stretches(&heard(&packets, begun))[0].0;
    assert!((3_660..=3_720).contains(&first), "{first} ms");
}

#[tokio::test(start_paused = true)]
async fn leaving_in_the_middle_finishes_the_record() {
    let scene = Scene::new(24_000, 1);
    let mut link = scene.join("");
    let begun = joined(&mut link).await;
    speak(&link.playout, begun, 300..500).await;
    assert!(!scene.out.exists(), "nobody sees half of it");
    drop(link);
    scene.places.part().await;
    assert_eq!(stretches(&scene.record()), [(300, 500)]);
    assert_eq!(files(scene.folder.path()), 2, "nothing else is left");
}

#[tokio::test(start_paused = true)]
async fn a_stay_that_is_cut_off_finishes_the_record() {
    let mut scene = Scene::new(24_000, 1);
    let mut link = scene.join("");
    let begun = joined(&mut link).await;
    speak(&link.playout, begun, 300..500).await;
    sleep_until(begun + Duration::from_secs(1)).await;
    scene.places = places(true);
    ended(&mut link).await;
    while !scene.out.exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(stretches(&scene.record()), [(300, 500)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_joined_is_refused_for_its_reason() {
    let scene = Scene::new(24_000, 1);
    let folder = scene.folder.path().display();
    std::fs::write(scene.folder.path().join("not.wav"), "hello").unwrap();
    let good = format!("wav:{}", scene.wav.display());
    for (url, code) in [
        (format!("wav:{folder}/nowhere.wav"), "ROOM_NOT_FOUND"),
        (format!("wav:{folder}/not.wav"), "MEDIA_FAILED"),
        (format!("wav:{folder}"), "MEDIA_FAILED"),
        ("wav:/dev/zero".to_owned(), "MEDIA_FAILED"),
        (format!("{good}?out={folder}/nowhere/out.wav"), "MEDIA_FAILED"),
        (format!("{good}?out={folder}"), "MEDIA_FAILED"),
        (format!("{good}?loud=yes"), "UNSUPPORTED_ROOM"),
    ] {
        assert_eq!(refused(&scene.places, &url).await, code, "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_no_rooms_unless_they_are_allowed() {
    let scene = Scene::new(24_000, 1);
    let url = format!("wav:{}", scene.wav.display());
    assert_eq!(refused(&places(false), &url).await, "UNSUPPORTED_ROOM");
}

/// A recording of a second of sound in a folder of its own, and the places.
struct Scene {
    folder: TempDir,
    wav: PathBuf,
    out: PathBuf,
    places: Places,
}

impl Scene {
    fn new(rate: u32, channels: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (wav, out) = (folder.path().join("caller.wav"), folder.path().join("out.wav"));
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&wav, spec).unwrap();
        let samples = (0..rate).map(|n| wave(u64::from(n) * 1_000 / u64::from(rate)));
        for sample in samples {
            (0..channels).for_each(|_| writer.write_sample(sample).unwrap());
        }
        writer.finalize().unwrap();
        Self { folder, wav, out, places: places(true) }
    }

    fn join(&self, parameters: &str) -> RoomLink {
        let (wav, out) = (self.wav.display(), self.out.display());
        join(&self.places, &format!("wav:{wav}?out={out}&{parameters}"))
    }

    fn record(&self) -> Vec<i16> {
        read_wav(std::fs::File::open(&self.out).unwrap()).unwrap()
    }
}

/// A sound that a codec for speech leaves as loud as it is.
fn wave(milliseconds: u64) -> i16 {
    if milliseconds % 8 < 4 { 9_000 } else { -9_000 }
}

fn places(files: bool) -> Places {
    let rooms = Rooms::new(&RoomsConfig {
        media_listen: vec![([127, 0, 0, 1], 0).into()],
        media_tcp_listen: None,
        public_ip: None,
        open: true,
    });
    Places::new(rooms.unwrap(), PlacesConfig { files, daily: None })
}

fn join(places: &Places, url: &str) -> RoomLink {
    places.join(&JoinRequest {
        call: CallId::new("call_1"),
        room_url: url.to_owned(),
        token: None,
        participant_name: Some("Ada".into()),
    })
}

async fn joined(link: &mut RoomLink) -> Instant {
    let joined = link.events.recv().await;
    assert!(matches!(joined, Some(RoomEvent::Joined { .. })), "{joined:?}");
    clock::now().into()
}

async fn refused(places: &Places, url: &str) -> &'static str {
    match join(places, url).events.recv().await {
        Some(RoomEvent::Failed(failure)) => failure.code(),
        other => panic!("{url}: {other:?}"),
    }
}

/// Waits until the room has closed.
async fn ended(link: &mut RoomLink) {
    while link.events.recv().await.is_some() {}
}

/// The agent speaks from one moment to another, in milliseconds after the beginning.
async fn speak(playout: &Sender<OpusPacket>, begun: Instant, span: std::ops::Range<u64>) {
    let mut microphone = Microphone::new(ParticipantId::new("agent")).unwrap();
    let frame = Frame24k::new(std::array::from_fn(|n| wave(n as u64 / 24)));
    for at in span.step_by(20) {
        let due = begun + Duration::from_millis(at);
        sleep_until(due).await;
        let packet = microphone.packet(&frame, due.into());
        let timestamp = u32::try_from(at * 48).unwrap();
        playout.send(OpusPacket { timestamp, ..packet }).await.unwrap();
    }
}

fn heard(packets: &[OpusPacket], begun: Instant) -> Vec<i16> {
    let (mut track, mut sound) = (Track::new(begun.into()).unwrap(), Vec::new());
    for packet in packets {
        track.push(packet, packet.at, &mut sound);
    }
    sound
}

/// From when to when there is sound, in milliseconds and whole frames.
fn stretches(sound: &[i16]) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for (n, frame) in sound.chunks(480).enumerate() {
        if frame.iter().all(|sample| sample.unsigned_abs() < 1_000) {
            continue;
        }
        match stretches.last_mut() {
            Some((_, end)) if *end == n * 20 => *end += 20,
            _ => stretches.push((n * 20, n * 20 + 20)),
        }
    }
    stretches
}

fn files(folder: &Path) -> usize {
    folder.read_dir().unwrap().count()
}
