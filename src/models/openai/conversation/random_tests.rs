//! Whatever happens: no conversation hangs, panics, or is lost without a word.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_survives_whatever_happens(
        steps in proptest::collection::vec((0..24_u8, 0..4_u32), 1..120)
    ) {
        let mut scene = Scene::new();
        let mut last = 1;
        for (step, number) in steps {
            if scene.ended.is_some() {
                break;
            }
            scene.steps();
            last = last.max(scene.conversation.links_made);
            let link = last.saturating_sub(number / 3).max(1);
            scene.happen(step, number, link);
            prop_assert!(scene.conversation.tape_frames() <= 1_000);
        }
        let is_lost = |item: &&ModelItem| is_event(item, &ModelEvent::Restored);
        let restored = scene.items.iter().filter(is_lost).count();
        let is_told = |item: &&ModelItem| {
            matches!(item, ModelItem::Event(ModelEvent::Reconnecting { .. }))
        };
        let told = scene.items.iter().filter(is_told).count();
        prop_assert!(told - restored <= 1, "told {} times, restored {} times", told, restored);
        scene.act(ModelAction::Close);
        prop_assert!(scene.ended.is_some());
        prop_assert_eq!(scene.conversation.poll_timeout(), None);
    }
}

impl Scene {
    fn happen(&mut self, step: u8, number: u32, link: u32) {
        let (item, response) = (format!("i{number}"), format!("r{number}"));
        match step {
            0..4 => self.open(link),
            4 => self.lose(link, None),
            5 => self.refuse(link, 503),
            6 => self.hear(link, &speech_started(&item, u64::from(number) * 500)),
            7 => self.hear(link, &item_event("input_audio_buffer.committed", &item)),
            8 => self.hear(link, &transcription(&item, "Hm?")),
            9 => self.hear(link, &created(&response)),
            10 => self.hear(link, &audio(&response, &item, 200)),
            11 => self.hear(link, &words(&response, &item, "one two three")),
            12 => self.hear(link, &done(&response, "completed")),
            13 => self.hear(link, &done(&response, "cancelled")),
            14 => self.hear(link, &call_done(&response, &item, "weather")),
            15 => self.act(output(&item, "rain")),
            16 => self.act(respond(Some("Hello."))),
            17 => self.act(ModelAction::Cancel),
            18 => self.act(truncate(&item, u64::from(number) * 50)),
            19 => self.act(add_text("It rains.")),
            20 => self.wait_ms(u64::from(number) * 10 * 60_000),
            21 => self.wait_ms(u64::from(number) * 1_000),
            22 => self.act(if number < 2 { ModelAction::Commit } else { ModelAction::Clear }),
            _ => self.say(40),
        }
    }
}

fn is_event(item: &ModelItem, event: &ModelEvent) -> bool {
    matches!(item, ModelItem::Event(it) if it == event)
}

impl Conversation {
    fn tape_frames(&self) -> usize {
        self.tape.frames_kept()
    }
}
