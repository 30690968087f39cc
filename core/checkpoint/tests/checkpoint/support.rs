//! Files to read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tlbench_checkpoint::{Floors, RecordedAnswer, Recording};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{DType, Padding, Quantity, Stimulus, Tensor};

/// A folder that is gone after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    /// An error's text, with the folder's name replaced.
    pub(crate) fn said(&self, error: impl Display) -> String {
        error
            .to_string()
            .replace(&*self.path().to_string_lossy(), "[folder]")
    }
}

/// A safetensors file with `header` as it is given.
pub(crate) fn safetensors(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    let length = u64::try_from(header.len()).unwrap();
    [&length.to_le_bytes(), header, data].concat()
}

/// A file with tensors `a` of f32 `[2, 2]` and `b` of bf16 `[3]`.
pub(crate) fn two_tensors() -> Vec<u8> {
    let header = concat!(
        r#"{"__metadata__":{"format":"pt"},"#,
        r#""a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"#,
        r#""b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}"#
    );
    let a: Vec<u8> = [1.0_f32, -2.0, 0.5, f32::NAN]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let b: Vec<u8> = [0x3f80_u16, 0xc000, 0x7f80]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    safetensors(header, &[a, b].concat())
}

/// A recording of two inputs, one of them with a second question.
pub(crate) fn recording() -> Recording {
    Recording {
        provenance: BTreeMap::from([("transformers".to_owned(), "5.23.0".to_owned())]),
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        answers: vec![
            answer("text", &[vec![5, 6, 7]], None),
            answer("padded", &[vec![5, 6], vec![8]], None),
            answer("in_chunks", &[vec![5, 6, 7]], Some(vec![2, 1])),
        ],
    }
}

fn answer(id: &str, rows: &[Vec<i64>], chunks: Option<Vec<usize>>) -> RecordedAnswer {
    let mut stimulus = Stimulus::from_rows(id, rows, Padding::Left, 0).unwrap();
    let [batch, pos] = stimulus.request.shape();
    let embed = Quantity::hook("hook_embed");
    stimulus.request.capture = vec![embed.clone(), Quantity::Logits];
    stimulus.request.chunks = chunks.unwrap_or_default();
    let values = |width: usize| {
        let values = (0_u8..)
            .take(batch * pos * width)
            .map(|index| f32::from(index) / 3.0)
            .collect();
        Tensor::from_vec(values, &[batch, pos, width]).unwrap()
    };
    RecordedAnswer {
        values: BTreeMap::from([(Quantity::Logits, values(4)), (embed.clone(), values(2))]),
        floors: BTreeMap::from([(DType::F32, floors(1.0)), (DType::BF16, floors(65_536.0))]),
        stimulus,
    }
}

/// Floors of the quantities of an answer, `factor` times as large as they might be in f32.
fn floors(factor: f64) -> Floors {
    let floor = |cumulative: f64, local: Option<f64>| Floor {
        cumulative: factor * cumulative,
        local: local.map(|local| factor * local),
    };
    BTreeMap::from([
        (Quantity::Logits, floor(1e-7, Some(2e-8))),
        (Quantity::LogProbs, floor(3e-7, None)),
        (Quantity::hook("hook_embed"), floor(0.0, Some(0.0))),
    ])
}
