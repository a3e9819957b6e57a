//! A call in each dialect: a question, a tool, an answer that is spoken over.

use callbridge::models::dialect::Dialect;

use super::*;

#[tokio::test]
async fn azure_wants_its_key_in_a_header_of_its_own() {
    let script = include_str!("../../fixtures/sessions/dialect_azure.jsonl");
    let recording = call(Dialect::AZURE, script, &[]).await;
    assert_eq!(recording.target, "/v1/realtime?model=their-model");
    assert_eq!((recording.authorization, recording.api_key.as_deref()), (None, Some("key-1")));
    assert_eq!(recording.samples.len(), 10 * 480);
}

#[tokio::test]
async fn azures_preview_is_spoken_to_as_in_the_beta() {
    let script = include_str!("../../fixtures/sessions/dialect_azure_preview.jsonl");
    let recording = call(Dialect::AZURE_PREVIEW, script, &[]).await;
    assert_eq!(recording.target, "/v1/realtime?deployment=their-model");
    assert_eq!(recording.api_key.as_deref(), Some("key-1"));
}

#[tokio::test]
async fn xai_tells_words_by_all_of_them_so_far() {
    let script = include_str!("../../fixtures/sessions/dialect_xai.jsonl");
    let interims = ["What is the whether", "What is the weather"];
    let recording = call(Dialect::XAI, script, &interims).await;
    assert_eq!(recording.authorization.as_deref(), Some("Bearer key-1"));
    assert_eq!(recording.samples.len(), 10 * 480);
}

#[tokio::test]
async fn qwen_hears_at_16_khz_and_is_not_told_what_was_cut() {
    let script = include_str!("../../fixtures/sessions/dialect_qwen.jsonl");
    let recording = call(Dialect::QWEN, script, &[]).await;
    assert_eq!(recording.authorization.as_deref(), Some("Bearer key-1"));
    assert_eq!(recording.samples.len(), 10 * 320);
}

#[tokio::test]
async fn a_server_of_the_core_is_asked_for_no_more() {
    let script = include_str!("../../fixtures/sessions/dialect_generic.jsonl");
    call(Dialect::GENERIC, script, &["What "]).await;
}

/// Plays the call; `interims` are the words that come before the final ones.
async fn call(dialect: Dialect, script: &str, interims: &[&str]) -> Recording {
    let server = play(script).await;
    let profile = ModelProfile {
        model: "their-model".to_owned(),
        key: Some(Secret::new("key-1")),
        voice: Some("ada".to_owned()),
        transcription: dialect.transcribes.model().map(ToOwned::to_owned),
        ..ModelProfile::new("test", server.url()).speaking(dialect)
    };
    let spec = AgentSpec { tools: vec![weather()], ..AgentSpec::default() };
    let link = open(&profile, spec, Medium::Voice, &Meter::new());
    let mut scene = Scene { server, link };
    scene.is_ready().await;
    for _ in 0..10 {
        scene.link.audio.send(heard(&Frame24k::SILENCE)).await.unwrap();
    }
    assert_eq!(scene.items_until_done("r1").await, question(interims));

    let output = Pii::new("clear".to_owned());
    scene.act(ModelAction::ToolOutput { id: ToolCallId::new("call_1"), output }).await;
    scene.act(ModelAction::Respond { instructions: None }).await;
    assert_eq!(scene.item().await, started("r2"));
    assert_eq!(scene.item().await, words("a2", "Clear skies.", false));
    assert_eq!(scene.item().await, sound("a2", 400));

    scene.act(ModelAction::Cancel).await;
    let utterance = UtteranceId::new("a2");
    scene.act(ModelAction::Truncate { utterance, end_ms: 100 }).await;
    let rest = scene.items_until_done("r2").await;
    assert_eq!(rest.last(), Some(&done("r2", ResponseOutcome::Cancelled)));
    scene.close().await
}

/// What the agent is told until the tool is called.
fn question(interims: &[&str]) -> Vec<ModelItem> {
    let utterance = UtteranceId::new("u1");
    let transcript = |text: &str, is_final| {
        let (utterance, text) = (utterance.clone(), Pii::new(text.to_owned()));
        event(ModelEvent::Transcript { utterance, text, is_final })
    };
    let mut items =
        vec![event(ModelEvent::SpeechStarted { utterance: utterance.clone(), interrupts: true })];
    items.extend(interims.iter().map(|text| transcript(text, false)));
    items.push(event(ModelEvent::SpeechStopped { utterance: utterance.clone() }));
    items.push(transcript("What is the weather?", true));
    items.push(started("r1"));
    items.push(event(ModelEvent::ToolCall {
        response: ResponseId::new("r1"),
        id: ToolCallId::new("call_1"),
        name: "weather".to_owned(),
        arguments_json: "{}".to_owned(),
    }));
    items.push(done("r1", ResponseOutcome::Completed));
    items
}
