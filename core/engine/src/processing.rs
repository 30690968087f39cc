//! TransformerLens's weight processing: a pure function from a spec with its parameters to another one.
//!
//! What a model computes stays the same, up to a constant per position on the logits. Each step is computed in f64 from
//! what the run's precision holds, and a weight is rounded once, when all steps that touch it are done. In bf16 and f16
//! it is rounded to the narrow type, as if such a checkpoint had been saved: the processed model is then as far from the
//! raw one as two roundings of the same weights are.

mod draft;
mod exact;
mod matrices;
mod readers;
mod rows;
mod steps;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::BTreeMap;

use candle_core::Tensor;
use tlbench_sdk::spec::{Branch, BranchInput, LayerSpec, NormSpec};
use tlbench_sdk::{ModelSpec, Processing, ProcessingStep};

use self::draft::Draft;
use self::readers::{attention_readers, mlp_readers, mlp_writers};
use self::wanted::Wanted;
use crate::canonical_weights::CanonicalWeights;
use crate::error::EngineError;

/// `raw` after `processing`, every step of which the caller knows to be admitted.
///
/// Every weight is then a tensor of its own, under its canonical name: what a step has changed in canonical layout, all
/// else as it is stored, sharing the memory of `raw`.
pub(crate) fn process(
    raw: &CanonicalWeights,
    processing: &Processing,
) -> Result<CanonicalWeights, EngineError> {
    let mut draft = Draft::new(raw, Wanted::All);
    take_steps(&mut draft, &raw.spec, processing)?;
    draft.finish(renamed(raw, processing)?)
}

/// Those of the weights `names` that `processing` changes, in canonical layout.
pub(crate) fn changed(
    raw: &CanonicalWeights,
    processing: &Processing,
    names: &[&str],
) -> Result<BTreeMap<String, Tensor>, EngineError> {
    let mut draft = Draft::new(raw, Wanted::of(names));
    take_steps(&mut draft, &raw.spec, processing)?;
    Ok(draft.changed())
}

/// The spec after `processing`, with each weight as it was before, under its canonical name.
pub(crate) fn renamed(
    raw: &CanonicalWeights,
    processing: &Processing,
) -> Result<CanonicalWeights, EngineError> {
    let mut spec = raw.spec.clone();
    if processing.has(ProcessingStep::FoldLn) {
        forget_folded(&mut spec);
    }
    Ok(CanonicalWeights {
        parameters: raw.parameters.renamed(&spec.rename_weights())?,
        spec,
        precision: raw.precision,
    })
}

fn take_steps(
    draft: &mut Draft<'_>,
    spec: &ModelSpec,
    processing: &Processing,
) -> Result<(), EngineError> {
    if processing.has(ProcessingStep::CenterWritingWeights) {
        for name in ["embed.W_E", "pos_embed.W_pos"] {
            steps::centre(draft, name)?;
            draft.round()?;
        }
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        block(draft, &format!("blocks.{index}"), layer, processing)?;
        draft.round()?;
    }
    if let Some(norm) = &spec.final_norm
        && processing.has(ProcessingStep::FoldLn)
    {
        let head = readers::linear("unembed.W_U", "unembed.b_U");
        steps::fold_norm(draft, "ln_final", norm, &[head])?;
    }
    if processing.has(ProcessingStep::CenterUnembed) {
        steps::centre(draft, "unembed.W_U")?;
        steps::centre(draft, "unembed.b_U")?;
    }
    draft.round()
}

fn block(
    draft: &mut Draft<'_>,
    name: &str,
    layer: &LayerSpec,
    processing: &Processing,
) -> Result<(), EngineError> {
    let attn = format!("{name}.attn");
    let mlp = format!("{name}.mlp");
    if processing.has(ProcessingStep::FoldLn) {
        let mlp_readers = |branch: &Branch<_>| mlp_readers(&mlp, &branch.body);
        if let Some(norm) = layer.attn.as_ref().and_then(Branch::input_norm) {
            let mut readers = attention_readers(&attn);
            let sharing = layer
                .mlp
                .as_ref()
                .filter(|branch| branch.input == BranchInput::SharedNorm);
            readers.extend(sharing.into_iter().flat_map(mlp_readers));
            steps::fold_norm(draft, &format!("{name}.ln1"), norm, &readers)?;
        }
        if let Some(branch) = &layer.mlp
            && let Some(norm) = branch.input_norm()
        {
            let readers = mlp_readers(branch);
            steps::fold_norm(draft, &format!("{name}.ln2"), norm, &readers)?;
        }
    }
    let centres = processing.has(ProcessingStep::CenterWritingWeights);
    if centres {
        if layer.attn.is_some() {
            steps::centre(draft, &format!("{attn}.W_O"))?;
            steps::centre(draft, &format!("{attn}.b_O"))?;
        }
        let writers = layer
            .mlp
            .iter()
            .flat_map(|branch| mlp_writers(&mlp, &branch.body));
        for writer in writers {
            steps::centre(draft, &writer.weight)?;
            steps::centre(draft, &writer.bias)?;
        }
    }
    if let Some(branch) = &layer.attn
        && processing.has(ProcessingStep::FoldValueBiases)
    {
        steps::fold_value_bias(draft, &attn, &branch.body)?;
        if centres {
            steps::centre(draft, &format!("{attn}.b_O"))?;
        }
    }
    Ok(())
}

/// Leaves the norms that were folded without gain and bias.
fn forget_folded(spec: &mut ModelSpec) {
    fn input_norm<T>(branch: &mut Option<Branch<T>>) -> Option<&mut NormSpec> {
        match &mut branch.as_mut()?.input {
            BranchInput::Norm(norm) => Some(norm),
            BranchInput::Stream | BranchInput::SharedNorm => None,
        }
    }
    let layers = spec.layers.iter_mut();
    let norms = layers.flat_map(|layer| [input_norm(&mut layer.attn), input_norm(&mut layer.mlp)]);
    for norm in norms.flatten().chain(&mut spec.final_norm) {
        norm.gain = None;
        norm.gain_offset = 0.0;
        norm.bias = None;
    }
}
