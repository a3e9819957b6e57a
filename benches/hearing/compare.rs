//! Detectors beside each other, on labelled speech: per frame, and per sentence by our own rules
//! of when speech begins and ends.
//!
//! A frame is speech where the clean signal is above -40 dBFS, and 50 ms after it. Speech with
//! pauses of less than 300 ms is one sentence; all else, 300 ms after each, is no speech.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "numbers are small, and a table is printed"
)]

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use callbridge::media::{EdgeKind, Hearing, Senses, Speech};
use callbridge::sys::clock;

use super::sounds::{self, Chance, Noise, Sound};

/// Compares ways of hearing on the speech in a folder, and prints a table for each.
pub(crate) fn run(folder: &Path, ways: &[(String, Hearing)]) {
    let takes = takes(folder);
    let minutes = takes.iter().map(|take| take.sound.len()).sum::<usize>() as f32 / 24_000.0 / 60.0;
    let sentences: usize = takes.iter().map(|take| take.sentences.len()).sum();
    println!("{sentences} sentences of {} speakers in {minutes:.1} min\n", takes.len());
    let scenes = scenes(folder, &takes);
    for (name, hearing) in ways {
        println!("### {name}\n");
        println!(
            "| | hits | false alarms | missed | false starts a minute | onset p50/p95 ms | end \
             p50/p95 ms | ran on | us a frame |\n| --- | --- | --- | --- | --- | --- | --- | --- | \
             --- |"
        );
        for scene in &scenes {
            let mut score = Score::default();
            for (take, sound) in takes.iter().zip(&scene.sounds) {
                score.add(take, sound, hearing);
            }
            println!("| {} | {} |", scene.name, score.row());
        }
        println!();
    }
}

/// One speaker's sentences, and where they are.
struct Take {
    sound: Sound,
    /// Frame by frame.
    is_speech: Vec<bool>,
    /// In frames.
    sentences: Vec<Range<usize>>,
}

fn takes(folder: &Path) -> Vec<Take> {
    let speakers = sounds::files(&folder.join("speech"));
    let take = |(n, speaker): (u64, &std::path::PathBuf)| {
        let files = sounds::files(speaker);
        let sentences: Vec<_> =
            files.iter().take(SENTENCES).map(|path| sounds::read(path)).collect();
        Take::of(sounds::speech(&sentences, &mut Chance(n)))
    };
    (1..).zip(&speakers).map(take).collect()
}

impl Take {
    fn of(sound: Sound) -> Self {
        let loud: Vec<bool> =
            sound.as_chunks::<480>().0.iter().map(|frame| sounds::level(frame) > 0.01).collect();
        let is_speech: Vec<bool> =
            (0..loud.len()).map(|n| loud[n.saturating_sub(TAIL)..=n].contains(&true)).collect();
        let mut sentences: Vec<Range<usize>> = Vec::new();
        for n in (0..loud.len()).filter(|n| loud[*n]) {
            match sentences.last_mut() {
                Some(last) if n - last.end < PAUSE => last.end = n + 1,
                _ => sentences.push(n..n + 1),
            }
        }
        // What is shorter is a click of the recording.
        sentences.retain(|sentence| sentence.len() >= SHORTEST);
        Self { sound, is_speech, sentences }
    }

    /// The sentence in which something that begins at this frame belongs.
    fn sentence_at(&self, frame: usize) -> Option<usize> {
        let around = |one: &Range<usize>| one.start.saturating_sub(4)..one.end + PAUSE;
        self.sentences.iter().position(|one| around(one).contains(&frame))
    }
}

/// All takes with something laid over them.
struct Scene {
    name: String,
    sounds: Vec<Sound>,
}

fn scenes(folder: &Path, takes: &[Take]) -> Vec<Scene> {
    let over = |name: &str, lay: &dyn Fn(usize, &Take) -> Sound| {
        let lain = takes.iter().enumerate().map(|(n, take)| lay(n, take));
        Scene { name: name.to_owned(), sounds: lain.collect() }
    };
    let mut scenes = vec![
        over("clean", &|_, take| take.sound.clone()),
        over("clean, 20 dB quieter", &|_, take| take.sound.iter().map(|s| s * 0.1).collect()),
    ];
    let noises = [
        ("hum", Noise::Hum, &[25.0][..]),
        ("white", Noise::White, &[20.0, 10.0, 5.0]),
        ("pink", Noise::Pink, &[20.0, 10.0, 5.0]),
    ];
    for (name, noise, ratios) in noises {
        for ratio in ratios {
            scenes.push(over(&format!("{name} {ratio} dB"), &|n, take| {
                let noise = noise.make(take.sound.len(), &mut Chance(n as u64 + 100));
                mixed(&take.sound, &noise, *ratio)
            }));
        }
    }
    scenes.push(over("keys struck", &|n, take| {
        let clicks = Noise::Clicks.make(take.sound.len(), &mut Chance(n as u64 + 100));
        take.sound.iter().zip(clicks).map(|(speech, click)| speech + click * 0.2).collect()
    }));
    let music: Vec<Sound> =
        sounds::files(&folder.join("music")).iter().map(|path| sounds::read(path)).collect();
    for ratio in [20.0, 10.0] {
        scenes.push(over(&format!("music {ratio} dB"), &|n, take| {
            mixed(&take.sound, &music[n % music.len()], ratio)
        }));
    }
    for ratio in [20.0, 10.0] {
        scenes.push(over(&format!("babble {ratio} dB"), &|n, take| {
            mixed(&take.sound, &babble(takes, n, take.sound.len()), ratio)
        }));
    }
    scenes
}

/// All other speakers at once, five times each.
fn babble(takes: &[Take], own: usize, samples: usize) -> Sound {
    let mut sound = vec![0.0; samples];
    let others = takes.iter().enumerate().filter(|(n, _)| *n != own);
    for (n, (_, other)) in others.enumerate() {
        for round in 0..5 {
            let from = (n * 7 + round * 13) * 24_000 % other.sound.len();
            let voice = other.sound.iter().cycle().skip(from);
            sound.iter_mut().zip(voice).for_each(|(sample, voice)| *sample += voice);
        }
    }
    sound
}

/// Speech with noise so many decibels below it.
fn mixed(speech: &[f32], noise: &[f32], ratio_db: f32) -> Sound {
    let wanted = sounds::active_level(speech) / 10.0_f32.powf(ratio_db / 20.0);
    let gain = wanted / sounds::active_level(noise);
    let noise = noise.iter().cycle().map(|sample| sample * gain);
    speech.iter().zip(noise).map(|(speech, noise)| (speech + noise).clamp(-1.0, 1.0)).collect()
}

/// What came of one way of hearing in one scene.
#[derive(Default)]
struct Score {
    speech: usize,
    hits: usize,
    silence: usize,
    alarms: usize,
    sentences: usize,
    missed: usize,
    false_starts: usize,
    ran_on: usize,
    onsets_ms: Vec<usize>,
    ends_ms: Vec<usize>,
    took: Duration,
}

impl Score {
    fn add(&mut self, take: &Take, sound: &[f32], hearing: &Hearing) {
        let (start, mut senses, mut speech) =
            (clock::now(), Senses::new(hearing.clone()), Speech::default());
        let mut speaking = Vec::new();
        for (n, mut frame) in sounds::frames(sound).into_iter().enumerate() {
            let begun = clock::now();
            let voiced = senses.hear(&mut frame);
            self.took += clock::now() - begun;
            match take.sentence_at(n) {
                Some(_) if take.is_speech[n] => {
                    self.speech += 1;
                    self.hits += usize::from(voiced);
                }
                Some(_) => {}
                None => {
                    self.silence += 1;
                    self.alarms += usize::from(voiced);
                }
            }
            speech.push(voiced, start + Duration::from_millis(20 * n as u64));
            while let Some(edge) = speech.poll() {
                let at = (edge.at - start).as_millis() as usize / 20;
                let is_start = edge.kind == EdgeKind::Started;
                self.false_starts += usize::from(is_start && take.sentence_at(at).is_none());
            }
            speaking.push(speech.is_speaking());
        }
        for (n, sentence) in take.sentences.iter().enumerate() {
            let next = take.sentences.get(n + 1).map_or(speaking.len(), |next| next.start);
            self.judge(sentence, &speaking[..next]);
        }
    }

    /// When a sentence was known to have begun, and to have ended.
    fn judge(&mut self, sentence: &Range<usize>, speaking: &[bool]) {
        self.sentences += 1;
        let mut heard = speaking[..sentence.end].iter().skip(sentence.start);
        match heard.position(|speaking| *speaking) {
            Some(late) => self.onsets_ms.push((late + 1) * 20),
            None => return self.missed += 1,
        }
        match speaking[sentence.end..].iter().position(|speaking| !speaking) {
            Some(late) => self.ends_ms.push((late + 1) * 20),
            None => self.ran_on += 1,
        }
    }

    fn row(&mut self) -> String {
        let share = |part: usize, of: usize| part as f32 / of.max(1) as f32;
        let minutes = self.silence as f32 / 50.0 / 60.0;
        let frames = self.took.as_secs_f32() * 1e6 / (self.speech + self.silence).max(1) as f32;
        format!(
            "{:.3} | {:.3} | {} of {} | {:.1} | {} | {} | {} | {frames:.1}",
            share(self.hits, self.speech),
            share(self.alarms, self.silence),
            self.missed,
            self.sentences,
            self.false_starts as f32 / minutes,
            percentiles(&mut self.onsets_ms),
            percentiles(&mut self.ends_ms),
            self.ran_on,
        )
    }
}

fn percentiles(values: &mut [usize]) -> String {
    values.sort_unstable();
    let at = |share: f32| values.get((values.len() as f32 * share) as usize).or(values.last());
    let text = |value: Option<&usize>| value.map_or("-".to_owned(), ToString::to_string);
    format!("{} / {}", text(at(0.5)), text(at(0.95)))
}

/// Of each speaker.
const SENTENCES: usize = 24;

/// 50 ms in frames, rounded up.
const TAIL: usize = 3;

/// 300 ms in frames: so long a pause ends a sentence, as it ends speech.
const PAUSE: usize = 15;

/// 100 ms in frames.
const SHORTEST: usize = 5;
