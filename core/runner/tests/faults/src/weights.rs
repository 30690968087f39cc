//! Edits of processed weights: steps of processing that are done wrong.

use tlbench_sdk::{PluginError, Processing, ProcessingStep, Tensor, TensorMap};

use crate::Processed;
use crate::arrays::{centred, shaped, with_row};

/// Wrong weights by name.
type Edited = Result<TensorMap, PluginError>;

impl Processed<'_> {
    fn now(&self, name: &str) -> Result<Tensor, PluginError> {
        (self.weight)(name, self.processing)
    }

    fn raw(&self, name: &str) -> Result<Tensor, PluginError> {
        (self.weight)(name, &Processing::raw())
    }

    /// As it is if `step` is left out.
    fn without(&self, step: ProcessingStep, name: &str) -> Result<Tensor, PluginError> {
        (self.weight)(name, &left_out(self.processing, step))
    }

    fn has(&self, step: ProcessingStep) -> bool {
        self.processing.has(step)
    }

    /// One weight of each block, by what is made of its name.
    fn in_each_block(
        &self,
        name: &str,
        edit: impl Fn(&str) -> Result<Tensor, PluginError>,
    ) -> Edited {
        let names = (0..self.spec.layers.len()).map(|index| format!("blocks.{index}.{name}"));
        names.map(|name| Ok((name.clone(), edit(&name)?))).collect()
    }

    /// One weight of each block, centred over dimension `dim` and no other.
    fn centred_over(&self, name: &str, dim: usize) -> Edited {
        let step = ProcessingStep::CenterWritingWeights;
        if !self.has(step) {
            return Ok(TensorMap::new());
        }
        self.in_each_block(name, |name| centred(&self.without(step, name)?, dim))
    }

    /// The embedding with another row of a token that no text has.
    fn with_row_of_rare_token(&self, change: impl Fn(f64, f64) -> f64) -> Edited {
        let (name, row) = ("embed.W_E", self.spec.d_vocab - 2);
        let raw = self.raw(name)?.to_f64_vec();
        let width = self.spec.d_model;
        let edited = with_row(&self.now(name)?, row, |column, value| {
            change(value, raw[row * width + column])
        })?;
        Ok([(name.to_owned(), edited)].into())
    }
}

/// All steps but one.
fn left_out(processing: &Processing, step: ProcessingStep) -> Processing {
    processing.steps().filter(|other| *other != step).collect()
}

/// The mean over `d_mlp` is taken out, for that over `d_model`.
pub(crate) fn mlp_centred_over_inputs(weights: &Processed<'_>) -> Edited {
    weights.centred_over("mlp.W_out", 0)
}

/// The mean over `d_model` is taken out, for that over the vocabulary.
pub(crate) fn unembed_centred_over_inputs(weights: &Processed<'_>) -> Edited {
    let (step, name) = (ProcessingStep::CenterUnembed, "unembed.W_U");
    if !weights.has(step) {
        return Ok(TensorMap::new());
    }
    let edited = centred(&weights.without(step, name)?, 0)?;
    Ok([(name.to_owned(), edited)].into())
}

/// Centring ends one row short.
pub(crate) fn row_left_uncentred(weights: &Processed<'_>) -> Edited {
    if !weights.has(ProcessingStep::CenterWritingWeights) {
        return Ok(TensorMap::new());
    }
    weights.with_row_of_rare_token(|_, raw| raw)
}

/// A row that something was divided by 0 in.
pub(crate) fn row_of_nan(weights: &Processed<'_>) -> Edited {
    weights.with_row_of_rare_token(|_, _| f64::NAN)
}

/// A row that was multiplied once too often.
pub(crate) fn row_blown_up(weights: &Processed<'_>) -> Edited {
    weights.with_row_of_rare_token(|now, _| 1e4 * now)
}

/// What reads a norm takes its gain, and keeps the mean that the norm takes out of its input.
pub(crate) fn readers_left_uncentred(weights: &Processed<'_>) -> Edited {
    if !weights.has(ProcessingStep::FoldLn) {
        return Ok(TensorMap::new());
    }
    weights.in_each_block("mlp.W_in", |name| {
        let norm = name.replace("mlp.W_in", "ln2.w");
        let (map, gain) = (weights.raw(name)?, weights.raw(&norm)?.to_f64_vec());
        let width = map.shape()[1];
        let values = map.to_f64_vec().into_iter().enumerate();
        shaped(
            values.map(|(at, value)| value * gain[at / width]).collect(),
            &map,
        )
    })
}
