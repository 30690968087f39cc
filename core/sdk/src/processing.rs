//! What is done to weights before a model runs, so that it is easier to read.
//!
//! The steps are TransformerLens's (`ProcessWeights.process_weights`), and so is their order. Each keeps the function
//! that the model computes, up to a constant per position on the logits; where an architecture does not admit that,
//! [`ProcessingStep::refusal`] says why.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::benchmark::Parameter;
use crate::spec::{
    AttentionSpec, Branch, BranchInput, LayerSpec, ModelSpec, NormKind, NormSpec, ResidualSource,
};

/// One step of weight processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessingStep {
    /// The gain and bias of each norm go into what reads the norm, whose columns are centred if the norm centres.
    FoldLn,
    /// Everything that is written to the stream loses its mean over `d_model`.
    CenterWritingWeights,
    /// The unembedding loses its mean over the vocabulary.
    CenterUnembed,
    /// The bias of the values, be it one that [`ProcessingStep::FoldLn`] has made, goes into that of the output: the
    /// rows of a pattern sum to 1.
    FoldValueBiases,
}

impl ProcessingStep {
    /// All steps, in the order in which they are taken.
    pub const ALL: [Self; 4] = [
        Self::FoldLn,
        Self::CenterWritingWeights,
        Self::CenterUnembed,
        Self::FoldValueBiases,
    ];

    /// TransformerLens's name of the flag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FoldLn => "fold_ln",
            Self::CenterWritingWeights => "center_writing_weights",
            Self::CenterUnembed => "center_unembed",
            Self::FoldValueBiases => "fold_value_biases",
        }
    }

    /// Why the step would change what a model of this spec computes, or has nothing to do; `None`: it is fine.
    pub fn refusal(self, spec: &ModelSpec) -> Option<String> {
        match self {
            Self::FoldLn => fold_ln(spec),
            Self::CenterWritingWeights => center_writing_weights(spec),
            Self::CenterUnembed => center_unembed(spec),
            Self::FoldValueBiases => fold_value_biases(spec),
        }
    }
}

impl fmt::Display for ProcessingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The steps that are taken, each alone or together with others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Processing(BTreeSet<ProcessingStep>);

impl Processing {
    /// No step: weights as they are stored.
    pub const fn raw() -> Self {
        Self(BTreeSet::new())
    }

    /// Every step that `spec` admits: compatibility mode.
    pub fn compat(spec: &ModelSpec) -> Self {
        ProcessingStep::ALL
            .into_iter()
            .filter(|step| step.refusal(spec).is_none())
            .collect()
    }

    /// Every combination of at least one of these steps, single ones first.
    pub fn combinations(&self) -> Vec<Self> {
        let steps: Vec<ProcessingStep> = self.steps().collect();
        let chosen = |bits: usize| {
            let is_in = |(index, _): &(usize, &ProcessingStep)| bits & (1 << index) != 0;
            let steps = steps.iter().enumerate().filter(is_in);
            steps.map(|(_, step)| *step).collect::<Self>()
        };
        let mut all: Vec<Self> = (1..1_usize << steps.len()).map(chosen).collect();
        all.sort_by_key(|combination| combination.0.len());
        all
    }

    /// The canonical weights of `spec` that are still parameters once this is done: what is folded is gone.
    pub fn parameters(&self, spec: &ModelSpec) -> Vec<Parameter> {
        let is_folded = |name: &str| {
            let gone_with = |step: ProcessingStep, suffixes: &[&str]| {
                self.has(step) && suffixes.iter().any(|suffix| name.ends_with(suffix))
            };
            gone_with(ProcessingStep::FoldLn, FOLDED_NORMS)
                || gone_with(ProcessingStep::FoldValueBiases, &[".attn.b_V"])
        };
        let weights = spec.weights().into_iter();
        weights
            .filter(|weight| !is_folded(&weight.name))
            .map(|weight| Parameter {
                shape: weight.source.cut_shape().unwrap_or_default(),
                name: weight.name,
            })
            .collect()
    }

    /// Whether the values of this branch have a bias at the time when biases are folded: one of their own, or one that
    /// the bias of a folded norm has become.
    pub fn has_value_bias(&self, branch: &Branch<AttentionSpec>) -> bool {
        let norm_shifts = branch.input_norm().is_some_and(|norm| norm.bias.is_some());
        branch.body.v.bias.is_some() || (self.has(ProcessingStep::FoldLn) && norm_shifts)
    }

    /// Whether the output of this branch has a bias once all steps are taken: its own, or what folding has moved there.
    pub fn has_output_bias(&self, branch: &Branch<AttentionSpec>) -> bool {
        let moves = self.has(ProcessingStep::FoldValueBiases) && self.has_value_bias(branch);
        branch.body.o.bias.is_some() || moves
    }

    /// Whether no step is taken.
    pub fn is_raw(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `step` is taken.
    pub fn has(&self, step: ProcessingStep) -> bool {
        self.0.contains(&step)
    }

    /// The steps, in the order in which they are taken.
    pub fn steps(&self) -> impl Iterator<Item = ProcessingStep> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<ProcessingStep> for Processing {
    fn from_iter<I: IntoIterator<Item = ProcessingStep>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_raw() {
            return f.write_str("raw");
        }
        let names: Vec<&str> = self.steps().map(ProcessingStep::name).collect();
        f.write_str(&names.join(" + "))
    }
}

/// Gain and bias of each norm that folds into what reads it.
const FOLDED_NORMS: &[&str] = &[
    ".ln1.w",
    ".ln1.b",
    ".ln2.w",
    ".ln2.b",
    "ln_final.w",
    "ln_final.b",
];

fn fold_ln(spec: &ModelSpec) -> Option<String> {
    for (index, layer) in spec.layers.iter().enumerate() {
        let from_norm = layer
            .attn
            .as_ref()
            .is_some_and(|branch| branch.residual == ResidualSource::Input)
            || layer
                .mlp
                .as_ref()
                .is_some_and(|branch| branch.residual == ResidualSource::Input);
        if from_norm {
            return Some(format!(
                "blocks.{index} adds its output to what the norm gives, so the norm's gain is more than what is read"
            ));
        }
    }
    let has_norm = spec
        .final_norm
        .iter()
        .chain(spec.layers.iter().flat_map(input_norms));
    let mut foldable = has_norm.filter(|norm| norm.gain.is_some() || norm.bias.is_some());
    match foldable.next() {
        Some(_) => None,
        None => Some("no norm has a gain or bias".into()),
    }
}

fn center_writing_weights(spec: &ModelSpec) -> Option<String> {
    let mut readers: Vec<(String, Option<&NormSpec>)> = Vec::new();
    if let Some(norm) = &spec.embedding.norm
        && norm.kind == NormKind::RmsNorm
    {
        return Some("embed goes through an RMS norm, which sees its mean".into());
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        if let Some(branch) = &layer.attn {
            readers.extend(reader(format!("blocks.{index}.attn"), branch));
        }
        if let Some(branch) = &layer.mlp {
            readers.extend(reader(format!("blocks.{index}.mlp"), branch));
        }
        if writes_through_a_norm(layer) {
            return Some(format!(
                "blocks.{index} writes to the stream through a norm, whose gain brings a mean back"
            ));
        }
    }
    readers.push(("unembed".into(), spec.final_norm.as_ref()));
    readers.into_iter().find_map(|(name, norm)| match norm {
        Some(norm) if norm.kind == NormKind::LayerNorm => None,
        Some(_) => Some(format!(
            "{name} reads the stream through an RMS norm, which sees its mean"
        )),
        None => Some(format!("{name} reads the stream itself, and so its mean")),
    })
}

fn center_unembed(spec: &ModelSpec) -> Option<String> {
    let cap = spec.unembed.softcap?;
    Some(format!(
        "the logits are capped at {cap}, so a constant on all of them changes their differences"
    ))
}

fn fold_value_biases(spec: &ModelSpec) -> Option<String> {
    let is_folded = fold_ln(spec).is_none();
    let biased: Vec<(usize, &AttentionSpec)> = spec
        .layers
        .iter()
        .enumerate()
        .filter_map(|(index, layer)| {
            let branch = layer.attn.as_ref()?;
            let from_norm = branch.input_norm().is_some_and(|norm| norm.bias.is_some());
            let has_bias = branch.body.v.bias.is_some() || (is_folded && from_norm);
            has_bias.then_some((index, &branch.body))
        })
        .collect();
    if biased.is_empty() {
        return Some("no value has a bias, nor a norm that would give it one".into());
    }
    biased.into_iter().find_map(|(index, attention)| {
        let reason = unfoldable(attention)?;
        Some(format!("blocks.{index}.attn {reason}"))
    })
}

fn unfoldable(attention: &AttentionSpec) -> Option<&'static str> {
    if attention.clip_qkv.is_some() {
        Some("clips its values, bias included")
    } else if attention.sinks.is_some() {
        Some("has sinks, so that the rows of its pattern do not sum to 1")
    } else {
        None
    }
}

/// Who reads the stream, and through which norm; a branch behind another one's norm reads what that one reads.
fn reader<T>(name: String, branch: &Branch<T>) -> Option<(String, Option<&NormSpec>)> {
    match &branch.input {
        BranchInput::Norm(norm) => Some((name, Some(norm))),
        BranchInput::Stream => Some((name, None)),
        BranchInput::SharedNorm => None,
    }
}

fn input_norms(layer: &LayerSpec) -> impl Iterator<Item = &NormSpec> {
    let attn = layer.attn.as_ref().and_then(Branch::input_norm);
    let mlp = layer.mlp.as_ref().and_then(Branch::input_norm);
    attn.into_iter().chain(mlp)
}

fn writes_through_a_norm(layer: &LayerSpec) -> bool {
    fn has<T>(branch: &Branch<T>) -> bool {
        branch.output_norm.is_some() || branch.sum_norm.is_some()
    }
    layer.attn.as_ref().is_some_and(has) || layer.mlp.as_ref().is_some_and(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_all_and_singles_come_first() {
        let two: Processing = [ProcessingStep::FoldLn, ProcessingStep::CenterUnembed]
            .into_iter()
            .collect();
        let names: Vec<String> = two.combinations().iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["fold_ln", "center_unembed", "fold_ln + center_unembed"]
        );
        let all: Processing = ProcessingStep::ALL.into_iter().collect();
        assert_eq!(all.combinations().len(), 15);
        assert!(Processing::raw().combinations().is_empty());
    }

    #[test]
    fn as_text() {
        let some: Processing = [ProcessingStep::FoldValueBiases, ProcessingStep::FoldLn]
            .into_iter()
            .collect();
        assert_eq!(
            serde_json::to_string(&some).unwrap(),
            r#"["fold_ln","fold_value_biases"]"#
        );
        assert_eq!(Processing::raw().to_string(), "raw");
    }
}
