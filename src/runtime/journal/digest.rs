//! What a core puts out, as one line each: words in full, sound by its fingerprint.

use crate::agent::{ModelAction, Notification, RecordEntry, Rejection};
use crate::media::{Frame24k, OpusPacket, Taped};
use crate::privacy::Pii;
use crate::runtime::core::Effect;

/// The answer to a command.
pub(super) fn of_outcome(outcome: &Result<(), Rejection>) -> String {
    match outcome {
        Ok(()) => "taken".to_owned(),
        Err(rejection) => format!("refused {rejection:?}"),
    }
}

/// One effect.
pub(super) fn of_effect(effect: &Effect) -> String {
    match effect {
        Effect::Notify(told) => format!("tell {told:?}{}", quoted(words_told(told))),
        Effect::JoinRoom(request) => format!("join {} as {}", request.room_url, request.call),
        Effect::LeaveRoom => "leave".to_owned(),
        Effect::OpenModel { spec, medium } => {
            let spec_print = fingerprint(format!("{spec:?}").bytes());
            format!("open {medium:?} for {:?} {spec_print:016x}", spec.name)
        }
        Effect::Instruct(action) => format!("instruct {action:?}{}", quoted(words_given(action))),
        Effect::CloseModel => "close the model".to_owned(),
        Effect::Hear(heard) => format!("hear {}", of_frame(&heard.frame)),
        Effect::Send(packet) => of_packet(packet),
        Effect::BeginTape { call, .. } => format!("tape {call}"),
        Effect::Tape(Taped { at, side, frame }) => {
            format!("tape {side:?} at {at} {}", of_frame(frame))
        }
        Effect::CloseClients => "close clients".to_owned(),
        Effect::Record { call, entry } => {
            format!("record {call} {entry:?}{}", quoted(words_recorded(entry)))
        }
        Effect::HandOver(heritage) if heritage.has_call() => "hand over, with a call".to_owned(),
        Effect::HandOver(_) => "hand over".to_owned(),
        Effect::Forget(memory) => format!("forget {memory:?}"),
        Effect::Stop => "stop".to_owned(),
    }
}

fn of_frame(frame: &Frame24k) -> String {
    let bytes = frame.iter().flat_map(|sample| sample.to_le_bytes());
    format!("{:016x}", fingerprint(bytes))
}

fn of_packet(packet: &OpusPacket) -> String {
    let OpusPacket { sequence, timestamp, marker, payload, .. } = packet;
    let marker = if *marker { " marker" } else { "" };
    let print = fingerprint(payload.iter().copied());
    format!("send {sequence} at {timestamp}{marker}, {} bytes {print:016x}", payload.len())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others show all they say by themselves")]
fn words_told(told: &Notification) -> Vec<&Pii<String>> {
    match told {
        Notification::Transcript { text, .. }
        | Notification::Speak { text, .. }
        | Notification::SpeakStatus { text, .. } => vec![text],
        _ => Vec::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others show all they say by themselves")]
fn words_given(action: &ModelAction) -> Vec<&Pii<String>> {
    match action {
        ModelAction::AddText { text, .. } => vec![text],
        ModelAction::AddImage { url } => vec![url],
        ModelAction::Respond { instructions } => instructions.iter().collect(),
        ModelAction::ToolOutput { output, .. } => vec![output],
        _ => Vec::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others show all they say by themselves")]
fn words_recorded(entry: &RecordEntry) -> Vec<&Pii<String>> {
    match entry {
        RecordEntry::Line(line) => vec![&line.text],
        RecordEntry::Tool(tool) => vec![&tool.arguments_json, &tool.output],
        _ => Vec::new(),
    }
}

fn quoted(words: Vec<&Pii<String>>) -> String {
    let quoted = words.into_iter().map(|words| format!(" {:?}", words.expose()));
    quoted.collect::<Vec<_>>().concat()
}

/// FNV-1a, 64 bits: quick, and the same everywhere.
fn fingerprint(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |print, byte| {
        (print ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
