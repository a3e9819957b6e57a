//! Timelines of a conversation that passes from one agent to another.

use super::rounds::event;
use super::*;
use crate::ids::AgentId;

#[test]
fn a_call_passes_to_the_heir_and_the_first_is_silent_before() {
    let mut first = Scene::speaking("one two three four");
    first.unheard.push(cut("s1", 500, 1000));
    first.at(5000).command(hand_off(None));
    insta::assert_snapshot!(first.told(), @r#"
    5000 State { from: Active, to: HandingOff, reason: "handoff" }
    5000 > Playback(Flush)
    5000 > Model(Truncate { utterance: s1, end_ms: 500 })
    5000 speak-status s1 Interrupted 500 ms "one two"
    5000 > Model(Close)
    5000 VoiceStatus { status: Left, reason: Some("handed off") }
    5000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "handed off" }
    5000 > hand off
    5000 Handoff { to: ag_2, reason: "billing" }
    5000 State { from: HandingOff, to: Ended, reason: "handed off" }
    5000 > CloseClients
    5000 > Forget(Heir(ag_2))
    "#);

    let mut heir = Scene::at_the_same_time(&first);
    heir.command(Command::ExpectHandoff);
    heir.take_over(&mut first);
    heir.at(5100).model(ModelEvent::Ready { takes_turns: true });
    heir.at(5200).model(words("s2", "Hello, I go on."));
    heir.at(5210).playback(PlaybackEvent::Started { utterance: utterance("s2") });
    insta::assert_snapshot!(heir.told(), @r#"
    5000 State { from: Created, to: Active, reason: "another agent's call goes on" }
    5000 room joined rooms/a, 1 others
    5000 VoiceStatus { status: Joined, reason: None }
    5000 > listen
    5000 > open Voice
    5100 > add System "The conversation so far:\nYou said: one two"
    5100 > Model(Respond { instructions: None })
    5100 Status(Thinking)
    5200 speak s2 "Hello, I go on."
    5210 speak-status s2 Started 0 ms ""
    5210 Status(Acting)
    "#);
    assert_eq!(heir.agent.snapshot().call.map(|call| call.participants.len()), Some(1));
}

#[test]
fn without_a_call_the_heir_knows_the_story() {
    let mut first = Scene::new(None);
    first.connect();
    first.command(event("hello", false));
    first.take();
    first.command(hand_off(Some("Ann is angry.")));
    insta::assert_snapshot!(first.told(), @r#"
    0 State { from: Connected, to: HandingOff, reason: "handoff" }
    0 > hand off
    0 Handoff { to: ag_2, reason: "billing" }
    0 State { from: HandingOff, to: Ended, reason: "handed off" }
    0 > CloseClients
    0 > Forget(Heir(ag_2))
    "#);

    let mut heir = Scene::at_the_same_time(&first);
    heir.connect();
    heir.command(Command::ExpectHandoff);
    heir.take();
    heir.take_over(&mut first);
    heir.model(ModelEvent::Ready { takes_turns: true });
    insta::assert_snapshot!(heir.told(), @r#"
    0 > open Text
    0 State { from: Connected, to: Active, reason: "the agent is at work" }
    0 Status(Thinking)
    0 > add System "The current state: {\"last\":\"hello\"}"
    0 > add User "hello\nhandoff: You go on in the place of another (billing). Ann is angry."
    0 > Model(Respond { instructions: None })
    "#);
}

#[test]
fn an_heir_that_nobody_holds_leaves_the_call_after_the_grace() {
    let mut first = Scene::in_call();
    first.command(hand_off(None));
    let mut heir = Scene::at_the_same_time(&first);
    heir.command(Command::ExpectHandoff);
    heir.take_over(&mut first);
    heir.model(ModelEvent::Ready { takes_turns: true });
    heir.take();
    heir.at(15_000).timeout();
    heir.event(Event::Room(RoomEvent::Left));
    insta::assert_snapshot!(heir.told(), @r#"
    15000 > Playback(Flush)
    15000 > Model(Close)
    15000 > Room(Leave)
    15000 Status(Idle)
    15000 VoiceStatus { status: Left, reason: Some("abandoned") }
    15000 RoomLeft { call: call_1, room_url: "rooms/a", reason: "abandoned" }
    15000 State { from: Active, to: Connected, reason: "nothing is going on" }
    15000 State { from: Connected, to: Created, reason: "no client came back" }
    "#);
}

#[test]
fn who_expects_a_conversation_joins_nothing_until_it_is_late() {
    let mut heir = Scene::new(None);
    heir.connect();
    heir.command(Command::ExpectHandoff);
    let refused = heir.agent.handle_command(join(), heir.now);
    assert_eq!(refused.map_err(|refusal| refusal.code()), Err("INVALID_STATE"));
    let second = heir.agent.handle_command(Command::ExpectHandoff, heir.now);
    assert_eq!(second, Err(Rejection::AgentBusy));
    heir.at(10_000).timeout();
    heir.command(join());
}

#[test]
fn only_a_connected_agent_can_be_handed_off() {
    let mut scene = Scene::new(None);
    let refused = scene.agent.handle_command(hand_off(None), scene.now);
    assert_eq!(refused.map_err(|refusal| refusal.code()), Err("INVALID_STATE"));
    scene.connect();
    scene.command(join());
    let joining = scene.agent.handle_command(hand_off(None), scene.now);
    assert_eq!(joining.map_err(|refusal| refusal.code()), Err("INVALID_STATE"));
}

#[test]
fn who_expects_a_conversation_does_not_pass_its_own_on() {
    let mut heir = Scene::new(None);
    heir.connect();
    heir.command(Command::ExpectHandoff);
    let refused = heir.agent.handle_command(hand_off(None), heir.now);
    assert_eq!(refused.map_err(|refusal| refusal.code()), Err("INVALID_STATE"));
}

#[test]
fn an_idle_agent_becomes_another_and_a_busy_one_does_not() {
    let mut scene = Scene::in_call();
    let become_other = |expires_at| Command::Reconfigure { spec: Some(spec().into()), expires_at };
    let refused = scene.agent.handle_command(become_other(None), scene.now);
    assert_eq!(refused, Err(Rejection::AgentBusy));

    let mut scene = Scene::new(Some(60));
    let later = scene.start + Duration::from_secs(120);
    scene.command(become_other(Some(Some(later))));
    scene.at(60_000).timeout();
    assert_eq!(scene.agent.phase(), Phase::Created);
    scene.at(120_000).timeout();
    assert_eq!(scene.agent.phase(), Phase::Ended);
}

impl Scene {
    fn at_the_same_time(other: &Self) -> Self {
        let mut scene = Self::new(None);
        (scene.start, scene.now) = (other.start, other.now);
        scene.agent.clients = Clients::new(&scene.agent.limits, scene.now);
        scene
    }

    fn take_over(&mut self, first: &mut Self) {
        let baggage = first.baggage.take().expect("it was handed off");
        self.event(Event::TakenOver(Box::new(baggage)));
    }
}

fn hand_off(context: Option<&str>) -> Command {
    Command::HandOff {
        to: AgentId::new("ag_2"),
        reason: "billing".into(),
        context: context.map(|text| Pii::new(text.to_owned())),
    }
}
