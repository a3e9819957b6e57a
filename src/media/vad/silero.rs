//! Silero VAD, version 6: a network with a memory, from a file that not everybody has.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tract_onnx::prelude::{
    DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, IntoTensor, Tensor,
    TractResult, TypedRunnableModel, tvec,
};
use tract_onnx::tract_core::internal::{bail, ensure};

use super::Windows;
use crate::media::frame::Frame16k;

/// The network, ready to run. All calls share one; it never changes.
#[derive(Clone)]
pub struct SileroModel {
    plan: Arc<TypedRunnableModel>,
    /// What it remembers when it has heard nothing.
    blank: Arc<Tensor>,
}

/// The file is not the network that we know.
#[derive(Debug, Error)]
#[error("this is not Silero's model for 16 kHz: {0}")]
pub struct SileroError(String);

impl SileroModel {
    /// Reads and prepares the network from the content of `silero_vad_openvino_16k.onnx`, which is
    /// the one of its makers' files that needs nothing beyond plain operators.
    pub fn from_onnx(bytes: &[u8]) -> Result<Self, SileroError> {
        prepare(bytes).map_err(|error| SileroError(format!("{error:#}")))
    }
}

impl PartialEq for SileroModel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl fmt::Debug for SileroModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SileroModel").finish_non_exhaustive()
    }
}

/// Makes a plan of the file, and runs it once: a plan that runs once runs always.
fn prepare(bytes: &[u8]) -> TractResult<SileroModel> {
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..])?;
    for (number, node) in model.nodes_mut().iter_mut().enumerate() {
        // The file has one name for many of its constants, which tract does not take.
        node.name = format!("{number} {}", node.name);
    }
    let model = model
        .with_input_fact(0, f32::fact([1, CONTEXT + WINDOW]).into())?
        .with_input_fact(1, f32::fact(MEMORY).into())?;
    let plan = model.into_optimized()?.into_runnable()?;
    let blank = Tensor::zero::<f32>(&MEMORY)?;
    let (_, memory) = run(&plan, &[0.0; CONTEXT + WINDOW], &blank)?;
    ensure!(memory.shape() == blank.shape(), "it remembers {:?}", memory.shape());
    Ok(SileroModel { plan, blank: Arc::new(blank) })
}

/// One stream's share of the network: its memory.
///
/// It hears windows of 32 ms, each with the end of the one before; a frame is what the last window
/// that has ended in it is. So it is up to 28 ms behind. tract takes memory for each window, and
/// gives it back.
pub(super) struct Silero {
    model: SileroModel,
    windows: Windows<WINDOW>,
    /// The end of the window before, and this one.
    input: [f32; CONTEXT + WINDOW],
    /// What the network remembers.
    memory: Tensor,
    /// How much the last window was speech, from 0 to 1.
    score: f32,
}

impl Silero {
    pub(super) fn new(model: &SileroModel) -> Self {
        Self {
            windows: Windows::default(),
            input: [0.0; CONTEXT + WINDOW],
            memory: Tensor::clone(&model.blank),
            score: 0.0,
            model: model.clone(),
        }
    }

    pub(super) fn is_voice(&mut self, frame: &Frame16k) -> bool {
        let Self { model, windows, input, memory, score } = self;
        windows.push(frame, |window| {
            input.copy_within(WINDOW.., 0);
            for (float, sample) in input[CONTEXT..].iter_mut().zip(window) {
                *float = f32::from(*sample) / FULL_SCALE;
            }
            // It was tried out when the file was read, and its sizes never change.
            if let Ok(found) = run(&model.plan, input, memory) {
                (*score, *memory) = found;
            }
        });
        *score > THRESHOLD
    }
}

impl fmt::Debug for Silero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Silero").field("score", &self.score).finish_non_exhaustive()
    }
}

/// How much a window is speech, and what the network remembers after it.
fn run(plan: &Arc<Plan>, input: &Input, memory: &Tensor) -> TractResult<(f32, Tensor)> {
    let input = Tensor::from_shape(&[1, input.len()], input)?;
    let mut outputs = plan.run(tvec!(input.into_tvalue(), memory.clone().into_tvalue()))?;
    let (Some(memory), Some(score)) = (outputs.pop(), outputs.pop()) else {
        bail!("it has fewer than two outputs");
    };
    let scores = score.try_as_plain_ram()?;
    let Some(score) = scores.as_slice::<f32>()?.first() else { bail!("it has no score") };
    Ok((*score, memory.into_tensor()))
}

type Plan = TypedRunnableModel;
type Input = [f32; CONTEXT + WINDOW];

/// 32 ms at 16 kHz.
const WINDOW: usize = 512;

/// What a window shares with the one before it: 4 ms.
const CONTEXT: usize = 64;

/// The shape of the network's memory.
const MEMORY: [usize; 3] = [2, 1, 128];

/// What its makers take for the border.
const THRESHOLD: f32 = 0.5;

const FULL_SCALE: f32 = 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_network_is_refused() {
        for bytes in [&b""[..], b"not a model"] {
            let error = SileroModel::from_onnx(bytes).unwrap_err().to_string();
            assert!(error.starts_with("this is not Silero's model"), "{error}");
        }
    }
}
