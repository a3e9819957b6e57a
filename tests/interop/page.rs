//! The room page in real browsers: what it shows of a call, of two in one room, and of trouble.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::gateway::Gateway;
use super::lan::{self, Neighbour};
use super::peer::{Agent, Peer, chromium, fixture};
use super::sound::{missed, words_in, write_microphone, write_microphone_after};

/// Held by each test with browsers: two of them at once starve their calls on a small machine.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn the_room_page_works_in_a_browser() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("lobby").await;
    let shown = visit(&gateway, &mut agent, &gateway.room("lobby")).await;
    assert_eq!(shown["isLocked"], false);
    assert_eq!(sorted(&shown["left"]["people"]), ["Ada"]);
    // Not even for a moment does the list say that nobody is there.
    assert_eq!(shown["left"]["peopleSince"], json!([["Ada"]]));
}

#[tokio::test]
async fn a_locked_room_outlives_kill_9_and_its_page_opens_by_a_link() {
    let _turn = TURN.lock().await;
    let mut gateway = Gateway::start().await;
    let room = gateway.create_room("office").await;
    gateway.kill_and_restart().await;
    let mut agent = Agent::create(&gateway).await;
    let url = gateway.room("office");
    agent.join_by(json!({"roomUrl": url, "token": room["token"]})).await;
    let link = format!("{url}#token={}", room["token"].as_str().unwrap());
    let shown = visit(&gateway, &mut agent, &link).await;
    assert_eq!(shown["isLocked"], true);
    assert_eq!(shown["left"]["people"], json!([]));
}

/// Sends a browser to a room where an agent is, to ask it for the time; what the page has shown.
async fn visit(gateway: &Gateway, agent: &mut Agent, room: &str) -> Value {
    let microphone = question(gateway);
    let heard = gateway.folder().join("heard.wav");
    let kept = std::env::var_os("INTEROP_SCREENSHOTS");
    let screenshots = kept.as_deref().unwrap_or(gateway.folder().as_os_str());
    let browser = chromium();
    let (room, heard_path) = (OsStr::new(room), heard.as_os_str());
    let args = [browser.as_os_str(), room, microphone.as_os_str(), screenshots, heard_path];
    let mut page = Peer::node("room_page.cjs", &args);
    assert_eq!(agent.event("participant_joined").await["name"], "Carol");
    let said = agent.spoken().await;
    assert_eq!(agent.event("participant_left").await["name"], "Carol");
    let shown = page.next().await;
    page.finish().await;

    assert_eq!(sorted(&shown["people"]), ["Ada", "Carol (you)"]);
    let asked = shown["captions"]["asked"].as_str().unwrap();
    assert!(asked.starts_with("Carol:"), "{asked}");
    assert!(missed("What time is it?", asked).len() <= 1, "{asked}");
    let answered = shown["captions"]["answered"].as_str().unwrap();
    assert_eq!(answered, format!("Ada:{said}"));
    let doing: Vec<&str> =
        shown["doing"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    for state in ["agent · thinking", "agent · speaking", "agent · listening"] {
        assert!(doing.contains(&state), "{doing:?}");
    }
    let words = words_in(&heard).await;
    assert!(is_heard(&said, &words), "the page has heard {words:?} of {said:?}");
    for who in ["own", "others"] {
        assert!(shown["loudest"][who].as_f64().unwrap() > 0.2, "{}", shown["loudest"]);
    }
    assert_eq!(shown["muted"]["during"], json!({"sends": false, "pressed": "true"}));
    assert_eq!(shown["muted"]["after"], json!({"sends": true, "pressed": "false"}));
    assert_eq!(shown["left"]["state"], "Not joined");
    assert_eq!(shown["left"]["isListening"], false, "the microphone is given back");
    assert_eq!((&shown["focused"], &shown["left"]["focused"]), (&json!("mute"), &json!("join")));
    assert!(shown["devices"].as_array().unwrap().len() > 1, "{}", shown["devices"]);
    assert_eq!(shown["speaks"], json!(["audio/red"]), "it repeats itself, for we can use that");
    assert_eq!(shown["overflow"], 0, "the page fits a phone");
    assert_eq!(shown["access"], json!([]));
    assert_eq!(shown["faults"], json!([]));
    shown
}

#[tokio::test]
async fn two_browsers_and_an_agent_share_a_room() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("three").await;
    let file = |name: &str| gateway.folder().join(name);
    let (asks, says) = (question(&gateway), file("ben.wav"));
    // Long enough for him to mute before he says it for the first time.
    write_microphone_after(12, &fixture("my-name-is"), &says);
    let heard = [file("heard-by-ann.wav"), file("heard-by-ben.wav")];
    let (browser, room) = (chromium(), gateway.room("three"));
    let [by_ann, by_ben] = &heard;
    let args: [&OsStr; 6] = [
        browser.as_ref(),
        room.as_ref(),
        asks.as_ref(),
        says.as_ref(),
        by_ann.as_ref(),
        by_ben.as_ref(),
    ];
    let mut pages = Peer::node("room_page_two.cjs", &args);
    let told = pages.within(Duration::from_secs(140)).await;
    pages.finish().await;

    let [seen, named] = ["seen", "named"].map(|what| told[what].as_array().unwrap());
    assert_eq!(sorted(&seen[0]["people"]), ["Ada", "Ann (you)", "Ben"]);
    assert_eq!(sorted(&seen[1]["people"]), ["Ada", "Ann", "Ben (you)"]);
    for (shown, name, words) in
        [(seen, "Ann", "What time is it?"), (named, "Ben", "My name is Alice.")]
    {
        // Both read the same, with the name of whoever said it.
        assert_eq!(shown[0]["asked"], shown[1]["asked"]);
        assert_eq!(shown[0]["answered"], shown[1]["answered"]);
        let asked = shown[1]["asked"].as_str().unwrap();
        assert!(asked.starts_with(&format!("{name}:")), "{asked}");
        assert!(missed(words, asked).len() <= 1, "{asked}");
    }
    assert_eq!(sorted(&told["left"]), ["Ada", "Ben (you)"]);
    let answers = [seen, named]
        .map(|shown| shown[1]["answered"].as_str().unwrap().trim_start_matches("Ada:").to_owned());
    let others = ["My name is Alice.", "What time is it?"];
    for ((path, who), other) in heard.iter().zip(["Ann", "Ben"]).zip(others) {
        let words = words_in(path).await;
        let all = format!("{other} {}", answers.join(" "));
        assert!(is_heard(&all, &words), "{who} has heard {words:?} of {all:?}");
        assert!(missed(other, &words).len() <= 1, "{who} has heard {words:?}");
    }
    assert_eq!(told["faults"], json!([]));
}

#[tokio::test]
async fn whoever_is_muted_is_not_heard_by_the_model() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("quiet").await;
    let (browser, room, microphone) = (chromium(), gateway.room("quiet"), question(&gateway));
    let args = [browser.as_os_str(), OsStr::new(&room), microphone.as_os_str()];
    let mut page = Peer::node("room_page_trouble.cjs", &args);
    page.order("\"join\"").await;
    assert_eq!(page.next().await, json!({"joined": true}));
    agent.spoken().await;
    page.order("\"mute\"").await;
    let muted = page.within(Duration::from_secs(80)).await;
    assert_eq!(muted["loudest"], 0, "{muted}");

    // The question is asked of the microphone again and again, and once more after that.
    let at = |event: &Value| {
        let at = event["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at.as_millisecond()
    };
    let [from, to] = ["from", "to"].map(|end| muted[end].as_i64().unwrap());
    let told = agent.events_until("transcript", |event| at(event) > to).await;
    // What was on its way when the page was muted may still come.
    let meanwhile: Vec<&Value> = told
        .iter()
        .filter(|event| at(event) > from + 2_000 && at(event) < to)
        .filter(|event| ["vad_start", "transcript"].iter().any(|kind| event["type"] == *kind))
        .collect();
    assert!(meanwhile.is_empty(), "{meanwhile:?}");
    page.finish().await;
}

#[test]
fn the_page_comes_back_when_the_network_does() {
    let _turn = TURN.blocking_lock();
    lan::run(Duration::from_secs(240), async {
        let gateway = Gateway::start_with(&[
            ("CALLBRIDGE_LISTEN", "10.77.0.1:0"),
            ("CALLBRIDGE_MEDIA_LISTEN", "10.77.0.1:0"),
            ("CALLBRIDGE_ROOMS_OPEN", "true"),
        ])
        .await;
        let next_door = Neighbour::new();
        let mut agent = Agent::create(&gateway).await;
        agent.join("wire").await;
        let (browser, room) = (chromium(), gateway.room("wire"));
        let microphone = question(&gateway);
        let args = [
            browser.as_os_str(),
            OsStr::new(&room),
            microphone.as_os_str(),
            gateway.url().as_ref(),
        ];
        let node = next_door.command("node").into();
        let mut page = Peer::node_by(node, "room_page_trouble.cjs", &args);
        page.order("\"join\"").await;
        assert_eq!(page.next().await, json!({"joined": true}));

        // As long as the gateway waits for a silent caller, the place in the room is kept.
        lose_the_network(&next_door, Duration::from_secs(3)).await;
        let healed = mended(&mut page).await;
        assert_eq!(healed["entered"], 1, "{healed}");

        // In another network, too: a restart of ICE looks for the way from there.
        move_to(&next_door, "10.77.0.4/24");
        let moved = mended(&mut page).await;
        assert!(moved["restarts"].as_u64() > healed["restarts"].as_u64(), "{moved}");
        assert_eq!(moved["entered"], 1, "{moved}");

        // After so long the place is gone, and it has to come in anew.
        lose_the_network(&next_door, Duration::from_secs(12)).await;
        let back = mended(&mut page).await;
        assert!(back["states"].to_string().contains("Reconnecting"), "{back}");
        assert!(back["entered"].as_u64() > moved["entered"].as_u64(), "{back}");
        page.finish().await;
    });
}

/// Waits until the page is in the call, and a new question is captioned; what it has done for it.
async fn mended(page: &mut Peer) -> Value {
    page.order("\"mend\"").await;
    page.next().await
}

/// Gives the neighbour another address, as a machine gets in another network.
fn move_to(neighbour: &Neighbour, address: &str) {
    for settings in
        [["addr", "flush", "dev", "lan1"].as_slice(), &["addr", "add", address, "dev", "lan1"]]
    {
        assert!(neighbour.command("ip").args(settings).status().unwrap().success());
    }
}

/// The outage itself, which is what the test is about.
async fn lose_the_network(wire: &Neighbour, time: Duration) {
    wire.plug(false);
    tokio::time::sleep(time).await;
    wire.plug(true);
}

#[tokio::test]
async fn a_room_that_closes_says_so_once_and_is_left_alone() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start_with(&[("CALLBRIDGE_ROOMS_OPEN", "false")]).await;
    let room = gateway.create_room("office").await;
    let mut agent = Agent::create(&gateway).await;
    let url = gateway.room("office");
    agent.join_by(json!({"roomUrl": url, "token": room["token"]})).await;
    let link = format!("{url}#token={}", room["token"].as_str().unwrap());
    let (browser, microphone) = (chromium(), question(&gateway));
    let args = [browser.as_os_str(), OsStr::new(&link), microphone.as_os_str()];
    let mut page = Peer::node("room_page_trouble.cjs", &args);
    page.order("\"join\"").await;
    assert_eq!(page.next().await, json!({"joined": true}));

    let (status, _) = gateway.ask(Method::DELETE, "/api/rooms/office", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    page.order("\"ended\"").await;
    let ended = page.next().await;
    assert_eq!(ended["state"], "Not joined");
    assert_eq!(ended["message"], "The room was closed, or has put you out.");
    assert_eq!(ended["requests"], json!([]), "nobody knocks at a room that is gone");
    page.finish().await;
}

#[tokio::test]
async fn without_a_microphone_the_page_says_what_to_do() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start().await;
    for (microphone, wanted) in [
        ("", "No microphone was found. Plug one in, then join again."),
        ("refused", "The microphone is not allowed. Allow it for this page, then join again."),
    ] {
        let (browser, room) = (chromium(), gateway.room("lobby"));
        let args = [browser.as_os_str(), OsStr::new(&room), OsStr::new(microphone)];
        let mut page = Peer::node("room_page_trouble.cjs", &args);
        page.order("\"join\"").await;
        assert_eq!(page.next().await, json!({"joined": false, "message": wanted}));
        page.finish().await;
    }
}

#[tokio::test]
async fn what_an_agent_said_is_cut_to_what_was_heard_of_it() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/callbridge.js");
    let mut page = Peer::node("callbridge_events.mjs", &[client]);
    let told = page.next().await;
    page.finish().await;
    let captions = json!([
        ["Ann", "Tell", false, false],
        ["Ann", "Tell me.", true, false],
        ["Ada", "Once upon", false, false],
        ["Ada", "Once upon a time", true, false],
        ["Ada", "Once", true, true],
    ]);
    assert_eq!(told["captions"], captions);
    let mut states: Vec<&str> =
        told["states"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    states.dedup();
    assert_eq!(states, ["thinking", "acting", "speaking", "acting", "listening"]);
    assert_eq!(told["speaking"], json!([["Ann", true]]));
    // One refusal may come of haste, so it asks a few times, and then no more.
    assert_eq!((&told["code"], &told["asked"]), (&json!("ROOM_NOT_FOUND"), &json!(5)));
    assert_eq!(told["people"], json!([]));
}

/// Whether most of what was said was heard. The recogniser writes `43` for forty-three, and takes
/// some times of the day for other words.
pub(crate) fn is_heard(said: &str, heard: &str) -> bool {
    missed(said, heard).len() * 2 <= said.split_whitespace().count()
}

/// A microphone into which somebody asks for the time, now and then.
pub(crate) fn question(gateway: &Gateway) -> PathBuf {
    let microphone = gateway.folder().join("microphone.wav");
    write_microphone(&fixture("what-time-is-it"), &microphone);
    microphone
}

fn sorted(names: &Value) -> Vec<String> {
    let names = names.as_array().unwrap().iter();
    let mut names: Vec<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
