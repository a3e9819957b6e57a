//! What hearing needs beyond the program.

use std::path::PathBuf;

use super::models::cache_folder;
use super::reader::Reader;

/// Where the model of the detector `silero` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HearingConfig {
    /// The file.
    pub silero: PathBuf,
    /// Whether somebody has named it; if not, it may be missing.
    pub is_silero_named: bool,
}

impl HearingConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let named = reader.take("hearing.silero", |text| Ok(PathBuf::from(text)));
        Self {
            is_silero_named: named.is_some(),
            silero: named.unwrap_or_else(|| cache_folder(reader).join(SILERO)),
        }
    }
}

/// Where `make deps-silero` puts it.
const SILERO: &str = "models/silero-vad-6.2.3/silero_vad_openvino_16k.onnx";
