//! What it costs to hear, per frame; and, with `--compare FOLDER`, how well each detector hears
//! speech that `scripts/hearing-sounds` has brought there.
#![expect(clippy::expect_used, reason = "a benchmark may fail where its ground gives way")]

mod compare;
mod sounds;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use callbridge::media::{Detector, Frame24k, Hearing, Senses, SileroModel, Suppression};
use criterion::Criterion;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--compare").skip(1);
    if let Some(folder) = arguments.next() {
        return compare::run(Path::new(&folder), &ways());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let speech = sounds::frames(&sounds::read(Path::new(FIXTURE)));
    for (name, hearing) in ways() {
        cost(&mut criterion, &name, hearing, &speech);
    }
    criterion.final_summary();
}

/// What one frame costs, from 24 kHz to the bit, with the resampling in it.
fn cost(criterion: &mut Criterion, name: &str, hearing: Hearing, speech: &[Frame24k]) {
    let mut senses = Senses::new(hearing);
    let mut next = speech.iter().cycle();
    criterion.bench_function(&format!("hearing: {name}"), |bencher| {
        bencher.iter(|| {
            let mut frame = *next.next().expect("it never ends");
            black_box(senses.hear(&mut frame))
        });
    });
}

/// The ways of hearing that are compared; Silero's only where its model is.
fn ways() -> Vec<(String, Hearing)> {
    let mut detectors = vec![("webrtc", Detector::Webrtc), ("earshot", Detector::Earshot)];
    if let Ok(bytes) = std::fs::read(silero()) {
        let model = SileroModel::from_onnx(&bytes).expect("the file is Silero's model");
        detectors.push(("silero", Detector::Silero(model)));
    }
    let with = |name: &str, hearing: Hearing| (name.to_owned(), hearing);
    let mut ways: Vec<_> = detectors
        .into_iter()
        .map(|(name, detector)| with(name, Hearing { detector, ..Hearing::default() }))
        .collect();
    for (name, detector) in [("webrtc", Detector::Webrtc), ("earshot", Detector::Earshot)] {
        let noise_suppression = Some(Suppression::Moderate);
        let clean = Hearing { detector, noise_suppression, gain_control: false };
        ways.push(with(&format!("{name}, suppression"), clean.clone()));
        ways.push(with(&format!("{name}, both"), Hearing { gain_control: true, ..clean }));
    }
    ways
}

fn silero() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = std::env::var_os("CALLBRIDGE_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| home().join(".cache/callbridge"));
    cache.join("models/silero-vad-6.2.3/silero_vad_openvino_16k.onnx")
}

const FIXTURE: &str = "fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav";
