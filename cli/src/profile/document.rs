//! The JSON of a profile.
//!
//! ```text
//! schema      "flash-attention/profile/1"; a reader refuses any other
//! problem     what was computed
//! l2          the cache that was modelled
//! launches    per kernel launched: geometry and counters, in total and by PTX line
//! tensors     names of device addresses
//! machine_code  registers, spills and hottest loop of each kernel, where they could be found out
//! texts       the text of every place that executed
//! ```

use flash_attention::Options;
use flash_attention::profile::{L2Cache, Profile};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::machine_code::MachineCode;
use super::source::{Place, Sources, hot_lines};

/// The version that this command writes and reads.
pub const SCHEMA: &str = "flash-attention/profile/1";

/// Everything that a profile says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    schema: String,
    pub problem: Problem,
    pub l2: L2Cache,
    #[serde(flatten)]
    pub profile: Profile,
    /// Of the kernels that were launched; empty where ptxas or nvdisasm is not installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine_code: Vec<MachineCode>,
    /// By ascending place.
    pub texts: Vec<LineText>,
}

/// What was computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// File of the inputs, or what they are instead.
    pub source: String,
    /// Their type.
    pub dtype: String,
    /// `[batch, seqlen_q, num_heads, head_dim]`.
    pub q: [usize; 4],
    /// `[batch, seqlen_k, num_heads_k, head_dim]`.
    pub k: [usize; 4],
    pub is_causal: bool,
    /// None for `1 / sqrt(head_dim)`.
    pub softmax_scale: Option<f32>,
    /// Left out when it is the default, as documents of old have none.
    #[serde(default, skip_serializing_if = "More::is_default")]
    pub more: More,
}

/// Options that documents have only where they are used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct More {
    /// Keys on either side of the diagonal.
    pub window_left: Option<usize>,
    pub window_right: Option<usize>,
    pub is_top_left: bool,
    /// 0 for none.
    pub softcap: f32,
    /// Probability and seed.
    pub dropout: Option<(f32, u64)>,
    pub is_backward: bool,
    pub is_deterministic: bool,
}

impl More {
    pub fn new(options: &Options, is_backward: bool) -> More {
        let dropout = options.dropout;
        More {
            window_left: options.mask.window.left,
            window_right: options.mask.window.right,
            is_top_left: options.mask.is_top_left,
            softcap: options.softcap,
            dropout: dropout.map(|dropout| (dropout.probability, dropout.seed)),
            is_backward,
            is_deterministic: options.is_deterministic,
        }
    }

    fn is_default(&self) -> bool {
        *self == More::default()
    }
}

/// What is written at a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineText {
    #[serde(flatten)]
    pub place: Place,
    pub text: String,
}

/// A file that is no profile of this version.
#[derive(Debug, Error)]
pub enum DocumentError {
    #[error("it is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("it has no \"schema\": it was not written by `flash-attention profile --json`")]
    NoSchema,
    #[error(
        "its schema is {found:?}, this command reads {SCHEMA:?}: write it again with this command's --json"
    )]
    Schema { found: String },
    #[error("it is no complete {SCHEMA}: {0}")]
    Incomplete(serde_json::Error),
}

impl Document {
    pub fn new(problem: Problem, l2: L2Cache, profile: Profile, sources: &mut Sources) -> Self {
        let mut texts = Vec::new();
        for place in hot_lines(&profile.launches).into_keys() {
            if let Some(text) = sources.line(&place) {
                let text = text.trim().replace('\t', " ");
                texts.push(LineText { place, text });
            }
        }
        Self {
            schema: SCHEMA.to_owned(),
            problem,
            l2,
            profile,
            machine_code: Vec::new(),
            texts,
        }
    }

    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_str(text).map_err(DocumentError::NotJson)?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => serde_json::from_value(value).map_err(DocumentError::Incomplete),
            Some(found) => Err(DocumentError::Schema {
                found: found.to_owned(),
            }),
            None => Err(DocumentError::NoSchema),
        }
    }

    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// What is known of a kernel's machine code.
    pub fn machine_code_of(&self, entry: &str) -> Option<&MachineCode> {
        self.machine_code.iter().find(|code| code.entry == entry)
    }

    /// What is written at a place, when that was known.
    pub fn text(&self, place: &Place) -> Option<&str> {
        let found = self.texts.binary_search_by(|text| text.place.cmp(place));
        Some(&self.texts[found.ok()?].text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flash_attention::profile::{self, CounterOptions};
    use flash_attention::{Attention, EmulatorOptions, f16};

    #[test]
    fn a_document_survives_being_written_and_read() {
        let shape = [1, 40, 2, 8];
        let data = vec![f16::from_f32(0.1); 40 * 2 * 8];
        let attention = Attention::new().softmax_scale(0.1);
        for l2 in [L2Cache::default(), L2Cache::Unbounded] {
            let options = CounterOptions { l2 };
            let profile = profile::forward(
                &attention,
                [(shape, &data); 3],
                options,
                EmulatorOptions::default(),
            )
            .unwrap();
            let problem = Problem {
                source: "a \"file\"".to_owned(),
                dtype: "f16".to_owned(),
                q: shape,
                k: shape,
                is_causal: false,
                softmax_scale: Some(0.1),
                more: More {
                    window_left: Some(3),
                    dropout: Some((0.1, u64::MAX)),
                    ..More::default()
                },
            };
            let document = Document::new(problem, l2, profile, &mut Sources::find());
            assert!(!document.texts.is_empty());
            let json = document.to_json().unwrap();
            assert_eq!(Document::parse(&json).unwrap(), document);
        }
    }
}
