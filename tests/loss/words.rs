//! Speech through loss to the local recogniser: how many words are understood still.

use bytes::Bytes;
use callbridge::load::road::{Loss, RoadConfig};
use serde_json::{Value, json};

use crate::client::{Client, Server, find, plain, recording, sound};
use crate::journey::Journey;
use crate::sound::{payloads, print};

#[tokio::test]
async fn what_is_said_through_loss_is_understood_nearly_as_well() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let turns = json!({"audio": {"input": {
        "transcription": {"model": "moonshine"}, "turn_detection": null,
    }}});
    client.update(turns).await;
    let said = spoken(&server).await;
    let mut rates = Vec::new();
    for (percent, seeds) in [(0, 1), (5, SEEDS), (10, SEEDS)] {
        let (mut wrong, mut words) = (0, 0);
        for seed in 0..seeds {
            for (number, (text, sound)) in (0..).zip(&said) {
                let heard = through_loss(sound, percent, seed * 1000 + number);
                let heard = transcript(&mut client, &heard).await;
                let (text, heard) = (split(text), split(&heard));
                wrong += distance(&text, &heard);
                words += text.len();
            }
        }
        let rate = wrong * 1000 / words;
        print(&format!("loss {percent:2} %: {wrong} of {words} words wrong, {rate} per mille"));
        rates.push((rate, words));
    }
    let [(clean, _), (five, words), (ten, _)] = rates[..] else { panic!("three rates") };
    assert!(words >= 300, "{words} words are too few to say");
    assert!(five <= clean + 30, "{five} per mille at 5 % of loss, {clean} without");
    assert!(ten <= clean + 80, "{ten} per mille at 10 % of loss, {clean} without");
}

/// The sentences and their sound: what people have recorded, and what the local model says.
async fn spoken(server: &Server) -> Vec<(String, Vec<i16>)> {
    let mut said = Vec::new();
    for (name, text) in RECORDED {
        said.push(((*text).to_owned(), padded(&recording(name))));
    }
    let mut speaker = server.client().await;
    for text in SYNTHESISED {
        let instructions = format!("Say exactly: \"{text}\"");
        let response = json!({"instructions": instructions});
        speaker.send(json!({"type": "response.create", "response": response})).await;
        let events = speaker.until("response.done").await;
        assert_eq!(find(&events, "response.done")["response"]["status"], "completed");
        said.push(((*text).to_owned(), padded(&sound(&events))));
    }
    said
}

/// What an uplink gives of it behind a road that loses so much.
fn through_loss(sound: &[i16], percent: u8, seed: u64) -> Vec<i16> {
    let payloads: Vec<Bytes> = payloads(sound, percent);
    let loss = Loss::Random { share: f64::from(percent) / 100.0 };
    let road = RoadConfig { loss, ..RoadConfig::default() };
    let packets = payloads.len();
    let journey = Journey { payloads: &payloads, packets, road, seed, faster_ppm: 0 };
    journey.travel(true).frames.iter().flat_map(|frame| frame.to_vec()).collect()
}

async fn transcript(client: &mut Client, sound: &[i16]) -> String {
    client.append(sound).await;
    client.send(json!({"type": "input_audio_buffer.commit"})).await;
    let kind = "conversation.item.input_audio_transcription.completed";
    let event = client.next_of(kind).await;
    event["transcript"].as_str().expect("words").to_owned()
}

/// With a little silence around it, in whole frames.
fn padded(sound: &[i16]) -> Vec<i16> {
    let mut padded = [&[0; 4800], sound, &[0; 7200]].concat();
    padded.resize(padded.len().next_multiple_of(480), 0);
    padded
}

fn split(text: &str) -> Vec<String> {
    plain(&Value::from(text.replace('-', " "))).split_whitespace().map(str::to_owned).collect()
}

/// How many words must be put in, left out or changed to make one text of the other.
fn distance(one: &[String], other: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, word) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, heard) in other.iter().enumerate() {
            let changed = diagonal + usize::from(word != heard);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// How often all of it is said at each loss.
const SEEDS: u64 = 2;

const RECORDED: &[(&str, &str)] = &[
    ("what-time-is-it", "hello what time is it"),
    ("my-name-is", "my name is alice"),
    ("repeat-after-me", "repeat after me the quick brown fox jumps over the lazy dog"),
    ("what-is-my-name", "what is my name"),
    ("tell-me-the-weather-in-paris", "please tell me the weather in paris"),
    ("goodbye", "thank you goodbye"),
];

const SYNTHESISED: &[&str] = &[
    "Could you please tell me when the next train to London leaves from here?",
    "I would like to book a table for four people on Friday evening.",
    "The weather was cold this morning but now the sun is shining again.",
    "My daughter has lost her phone and we need to find another one soon.",
    "Please send the letter to my office before the end of the week.",
    "We have been waiting for an answer since the beginning of the month.",
    "There is a small garden behind the house with apple trees in it.",
    "Can you change my appointment from Monday morning to Thursday afternoon?",
    "The doctor said that I should drink more water and sleep longer.",
    "He opened the window because the room was getting very warm.",
];
