//! What the local model hears in a recording.

use std::path::Path;

use serde_json::json;

use super::client::{Server, find};

/// The words of a WAV.
pub(crate) async fn recognised(path: &Path) -> String {
    let mut sound = callbridge::media::read_wav(std::fs::File::open(path).unwrap()).unwrap();
    sound.splice(0..0, std::iter::repeat_n(0, 12_000));
    let server = Server::start().await;
    let mut client = server.client().await;
    let input = json!({ "transcription": { "model": "moonshine" }, "turn_detection": null });
    client.update(json!({ "audio": { "input": input } })).await;
    client.append(&sound).await;
    client.send(json!({ "type": "input_audio_buffer.commit" })).await;
    let kind = "conversation.item.input_audio_transcription.completed";
    let events = client.until(kind).await;
    find(&events, kind)["transcript"].as_str().unwrap().to_owned()
}

/// The words of a text. Recognition may write numbers as digits and join words, so those go.
pub(crate) fn words(text: &str) -> Vec<String> {
    let letters = |c: char| if c.is_alphabetic() { c.to_ascii_lowercase() } else { ' ' };
    text.chars().map(letters).collect::<String>().split_whitespace().map(str::to_owned).collect()
}
