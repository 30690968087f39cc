//! The formula of every canonical weight after processing, in TransformerLens's order: a norm's bias goes through the
//! weight that is not scaled yet, then the weight is scaled, then centred; writing weights lose their means; the
//! unembedding loses its own; and the bias of the values goes through the output that is centred by then.

use tlbench_sdk::spec::{
    AttentionSpec, Branch, BranchInput, LayerSpec, ModelSpec, NormKind, NormSpec,
};
use tlbench_sdk::{Processing, ProcessingStep};

use crate::array::Axis;
use crate::expected::Expected;
use crate::readers::{Linear, attention_readers, linear, mlp_readers, networks};

/// A processed weight, and what it has to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Formula {
    pub(crate) name: String,
    pub(crate) expected: Expected,
    /// Along this axis its mean has no effect, and does not count: TransformerLens leaves it in gates, whose input has
    /// no mean.
    pub(crate) free: Option<Axis>,
}

/// All formulas of one model under one processing.
pub(crate) struct Formulas<'a> {
    spec: &'a ModelSpec,
    processing: &'a Processing,
}

/// A norm under its canonical name.
#[derive(Clone, Copy)]
struct Norm<'a> {
    name: &'a str,
    spec: &'a NormSpec,
}

impl Formula {
    fn new(name: impl Into<String>, expected: Expected) -> Self {
        Self {
            name: name.into(),
            expected,
            free: None,
        }
    }
}

impl<'a> Formulas<'a> {
    pub(crate) fn new(spec: &'a ModelSpec, processing: &'a Processing) -> Self {
        Self { spec, processing }
    }

    /// Of every weight that is there after processing; those that no step touches are as they were.
    pub(crate) fn all(&self) -> Vec<Formula> {
        let mut all = self.norms_and_readers();
        let more = [
            self.attention_outputs(),
            self.mlp_outputs(),
            self.unembedding(),
            self.value_biases(),
        ];
        for formula in more.into_iter().flatten() {
            if all.iter().all(|known| known.name != formula.name) {
                all.push(formula);
            }
        }
        for weight in self.spec.weights() {
            if all.iter().all(|known| known.name != weight.name) {
                let raw = Expected::Raw(weight.name.clone());
                all.push(Formula::new(weight.name, raw));
            }
        }
        all
    }

    /// Of each norm of the stream, and of what reads through it.
    pub(crate) fn norms_and_readers(&self) -> Vec<Formula> {
        let mut list = Vec::new();
        for (index, layer) in self.spec.layers.iter().enumerate() {
            self.block_readers(&mut list, &format!("blocks.{index}"), layer);
        }
        if let Some(spec) = &self.spec.final_norm {
            self.norm(
                &mut list,
                Norm {
                    name: "ln_final",
                    spec,
                },
            );
            list.extend(self.unembedding());
        }
        list
    }

    /// Of what is written to the stream before and by attention: embeddings, outputs of heads.
    pub(crate) fn attention_outputs(&self) -> Vec<Formula> {
        let mut list = vec![self.writer("embed.W_E")];
        if self.spec.embedding.positions.is_some() {
            list.push(self.writer("pos_embed.W_pos"));
        }
        for (index, layer) in self.spec.layers.iter().enumerate() {
            if let Some(branch) = &layer.attn {
                let attn = format!("blocks.{index}.attn");
                list.push(self.writer(&format!("{attn}.W_O")));
                list.extend(self.output_bias(index, branch));
            }
        }
        list
    }

    /// Of what MLPs write to the stream.
    pub(crate) fn mlp_outputs(&self) -> Vec<Formula> {
        let mut list = Vec::new();
        for (index, layer) in self.spec.layers.iter().enumerate() {
            let branch = layer.mlp.iter();
            for (name, dense) in
                branch.flat_map(|branch| networks(&format!("blocks.{index}.mlp"), &branch.body))
            {
                list.push(self.writer(&format!("{name}.W_out")));
                if dense.output.bias.is_some() {
                    list.push(self.writer(&format!("{name}.b_out")));
                }
            }
        }
        list
    }

    /// Of the unembedding.
    pub(crate) fn unembedding(&self) -> Vec<Formula> {
        let norm = self.spec.final_norm.as_ref();
        let norm = norm.map(|spec| Norm {
            name: "ln_final",
            spec,
        });
        let head = Linear {
            weight: "unembed.W_U".into(),
            bias: "unembed.b_U".into(),
            has_bias: self.spec.unembed.projection.bias.is_some(),
            is_gate: false,
        };
        let mut list = Vec::new();
        self.reader(&mut list, norm, head);
        if self.processing.has(ProcessingStep::CenterUnembed) {
            for formula in &mut list {
                formula.expected = formula.expected.clone().centred(Axis::Output);
            }
        }
        list
    }

    /// Of the biases of values, and of the outputs that they go into.
    pub(crate) fn value_biases(&self) -> Vec<Formula> {
        let mut list = Vec::new();
        for (index, layer) in self.spec.layers.iter().enumerate() {
            let Some(branch) = &layer.attn else { continue };
            if self.value_bias(index, branch).is_some() {
                let zero = Expected::Constant(0.0);
                list.push(Formula::new(format!("blocks.{index}.attn.b_V"), zero));
                list.extend(self.output_bias(index, branch));
            }
        }
        list
    }

    fn block_readers(&self, list: &mut Vec<Formula>, block: &str, layer: &LayerSpec) {
        let ln1 = format!("{block}.ln1");
        let of_attn = layer.attn.as_ref().and_then(Branch::input_norm);
        let of_attn = of_attn.map(|spec| Norm { name: &ln1, spec });
        if let (Some(branch), Some(norm)) = (&layer.attn, of_attn) {
            self.norm(list, norm);
            for reader in attention_readers(&format!("{block}.attn"), &branch.body) {
                self.reader(list, of_attn, reader);
            }
            if self.processing.has(ProcessingStep::FoldValueBiases) {
                let b_v = format!("{block}.attn.b_V");
                for formula in list.iter_mut().filter(|formula| formula.name == b_v) {
                    formula.expected = Expected::Constant(0.0);
                }
            }
        }
        let Some(branch) = &layer.mlp else { return };
        let ln2 = format!("{block}.ln2");
        let norm = match &branch.input {
            BranchInput::Norm(spec) => Some(Norm { name: &ln2, spec }),
            BranchInput::SharedNorm => of_attn,
            BranchInput::Stream => None,
        };
        let Some(norm) = norm else { return };
        if branch.input_norm().is_some() {
            self.norm(list, norm);
        }
        for reader in mlp_readers(&format!("{block}.mlp"), &branch.body) {
            self.reader(list, Some(norm), reader);
        }
    }

    fn norm(&self, list: &mut Vec<Formula>, norm: Norm<'_>) {
        let folds = self.processing.has(ProcessingStep::FoldLn);
        for (part, has, folded) in [
            ("w", norm.spec.gain.is_some(), 1.0),
            ("b", norm.spec.bias.is_some(), 0.0),
        ] {
            let name = format!("{}.{part}", norm.name);
            let expected = if folds {
                Expected::Constant(folded)
            } else {
                Expected::Raw(name.clone())
            };
            list.extend(has.then(|| Formula::new(name, expected)));
        }
    }

    fn reader(&self, list: &mut Vec<Formula>, norm: Option<Norm<'_>>, linear: Linear) {
        let folded = norm.filter(|_| self.processing.has(ProcessingStep::FoldLn));
        let mut expected = Expected::Raw(linear.weight.clone());
        let mut free = None;
        if let Some(norm) = folded {
            if norm.spec.gain.is_some() {
                expected = Expected::Gained(Box::new(expected), format!("{}.w", norm.name));
            }
            if norm.spec.kind == NormKind::LayerNorm {
                expected = expected.centred(Axis::Input);
                free = linear.is_gate.then_some(Axis::Input);
            }
        }
        let bias = self.reader_bias(folded, &linear);
        list.push(Formula {
            name: linear.weight,
            expected,
            free,
        });
        list.extend(bias.map(|bias| Formula::new(linear.bias, bias)));
    }

    /// The bias of what reads through `folded`, which folding may have made.
    fn reader_bias(&self, folded: Option<Norm<'_>>, linear: &Linear) -> Option<Expected> {
        let own = linear.has_bias.then(|| Expected::Raw(linear.bias.clone()));
        let shift = folded.filter(|norm| norm.spec.bias.is_some());
        let shift =
            shift.map(|norm| Expected::Shift(format!("{}.b", norm.name), linear.weight.clone()));
        match (own, shift) {
            (Some(own), Some(shift)) => Some(own.plus(shift)),
            (own, shift) => own.or(shift),
        }
    }

    fn writer(&self, name: &str) -> Formula {
        Formula::new(name, self.written(Expected::Raw(name.to_owned())))
    }

    fn written(&self, expected: Expected) -> Expected {
        if self.processing.has(ProcessingStep::CenterWritingWeights) {
            expected.centred(Axis::Output)
        } else {
            expected
        }
    }

    /// The bias of the values before it is folded.
    fn value_bias(&self, index: usize, branch: &Branch<AttentionSpec>) -> Option<Expected> {
        let name = format!("blocks.{index}.ln1");
        let norm = branch.input_norm().map(|spec| Norm { name: &name, spec });
        let folded = norm.filter(|_| self.processing.has(ProcessingStep::FoldLn));
        let attn = format!("blocks.{index}.attn");
        let values = linear(&attn, "V", branch.body.v.bias.is_some());
        self.reader_bias(folded, &values)
    }

    fn output_bias(&self, index: usize, branch: &Branch<AttentionSpec>) -> Option<Formula> {
        let [name, w_o] = ["b_O", "W_O"].map(|part| format!("blocks.{index}.attn.{part}"));
        let has_own = branch.body.o.bias.is_some();
        let own = has_own.then(|| Expected::Raw(name.clone()));
        let folds = self.processing.has(ProcessingStep::FoldValueBiases);
        let moved = self
            .value_bias(index, branch)
            .filter(|_| folds)
            .map(|bias| {
                let output = self.written(Expected::Raw(w_o));
                Expected::Gathered(Box::new(bias), Box::new(output))
            });
        let sum = match (own, moved) {
            (Some(own), Some(moved)) => Some(own.plus(moved)),
            (own, moved) => own.or(moved),
        };
        sum.map(|sum| Formula::new(name, self.written(sum)))
    }
}
