//! Edges without clicks: how sound begins and ends where it was cut.

use super::frame::Frame24k;

/// Lets a frame that follows silence rise, if it does not begin near it.
pub(super) fn fade_in(frame: &mut Frame24k) {
    if is_loud(&frame[..EDGE_SAMPLES]) {
        for (n, sample) in frame[..FADE_SAMPLES].iter_mut().enumerate() {
            *sample = scale(*sample, n);
        }
    }
}

/// Lets the last of `said` sound, if it is not near silence, glide there in what is left of its
/// frame; in a last frame with less room than that, its own end fades.
pub(super) fn glide_out(frame: &mut Frame24k, said: usize) {
    let said = said.min(Frame24k::SAMPLES);
    if said == 0 || said == Frame24k::SAMPLES || !ends_loud(&frame[..said]) {
        return;
    }
    if Frame24k::SAMPLES - said < FADE_SAMPLES {
        for (n, sample) in frame[said - FADE_SAMPLES..said].iter_mut().rev().enumerate() {
            *sample = scale(*sample, n);
        }
    } else {
        let last = frame[said - 1];
        frame[said..].copy_from_slice(&tail(&[], last)[..Frame24k::SAMPLES - said]);
    }
}

/// A frame that leads into silence after one that ended with `last`: the sound that would have
/// followed, as far as it is there, fading within 5 ms.
pub(super) fn tail(following: &[i16], last: i16) -> Frame24k {
    let mut frame = Frame24k::SILENCE;
    let held = following.last().copied().unwrap_or(last);
    let sound = following.iter().copied().chain(std::iter::repeat(held));
    for (n, (place, sample)) in frame[..FADE_SAMPLES].iter_mut().zip(sound).enumerate() {
        *place = scale(sample, FADE_SAMPLES - 1 - n);
    }
    frame
}

/// Whether sound that ends so would click.
pub(super) fn ends_loud(samples: &[i16]) -> bool {
    is_loud(&samples[samples.len().saturating_sub(EDGE_SAMPLES)..])
}

fn is_loud(edge: &[i16]) -> bool {
    edge.iter().any(|sample| sample.unsigned_abs() >= EDGE_PEAK)
}

/// A smooth step over [`FADE_SAMPLES`]: no corner at either end.
#[expect(clippy::cast_possible_truncation, reason = "a share of a sample is one")]
#[expect(clippy::cast_precision_loss, reason = "a fade is short")]
fn scale(sample: i16, n: usize) -> i16 {
    let share = (n as f32 + 0.5) / FADE_SAMPLES as f32;
    (f32::from(sample) * share * share * 2.0_f32.mul_add(-share, 3.0)).round() as i16
}

/// 5 ms: shorter is heard as a click, longer as a fade.
pub(super) const FADE_SAMPLES: usize = 120;

/// The edge of a sound is its first or last millisecond.
const EDGE_SAMPLES: usize = 24;

/// Edges below this, 36 dB under full scale, are near silence: so small a step is lost beside
/// the speech around it.
const EDGE_PEAK: u16 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::tone;

    #[test]
    fn a_loud_beginning_rises_and_a_soft_one_is_left_alone() {
        let mut loud = Frame24k::new([9000; 480]);
        fade_in(&mut loud);
        assert!(largest_step(&loud[..]) < 200 && loud[0] < 10);
        assert_eq!(loud[FADE_SAMPLES..], [9000; 360]);
        let soft = Frame24k::new([499; 480]);
        let mut faded = soft;
        fade_in(&mut faded);
        assert_eq!(faded, soft);
    }

    #[test]
    fn the_end_of_a_short_frame_glides_to_silence() {
        for said in [1, 200, 360, 361, 479] {
            let mut frame = Frame24k::SILENCE;
            frame[..said].fill(9000);
            glide_out(&mut frame, said);
            assert!(largest_step(&frame[..]) < 200, "{said}");
            assert!(frame[479].abs() < 100, "{said}");
        }
    }

    #[test]
    fn a_tail_is_what_would_have_followed() {
        let sound = tone(440.0, 9000.0, 600);
        for there in [0, 1, 60, 120] {
            let frame = tail(&sound[480..480 + there], sound[479]);
            let joined = [&sound[..480], &frame[..]].concat();
            assert!(largest_step(&joined) < 1200, "{there}: {}", largest_step(&joined));
            assert_eq!(frame[FADE_SAMPLES..], [0; 360]);
        }
    }

    fn largest_step(samples: &[i16]) -> i32 {
        let steps = samples.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0]));
        steps.map(i32::abs).max().unwrap()
    }
}
