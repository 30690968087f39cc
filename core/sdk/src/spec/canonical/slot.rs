//! The places in a spec where a canonical weight is taken from.

use super::super::walk::join;
use super::super::{
    AttentionSpec, Branch, BranchInput, Cut, DenseMlp, Extent, HeadNorm, MlpSpec, ModelSpec,
    MoeSpec, NormSpec, PositionSpec, PositionTable, ProjectionSpec, TensorSource,
};

/// The place of one weight.
pub(super) struct Slot<'a> {
    pub(super) name: String,
    /// In canonical layout.
    pub(super) shape: Vec<usize>,
    place: Place<'a>,
    /// What the component adds to what it takes, or leaves out of it.
    offset: Offset<'a>,
    /// From the layout that the component takes to the canonical one.
    to_canonical: Vec<Cut>,
    /// And back, for a component without an offset.
    from_canonical: Vec<Cut>,
}

enum Place<'a> {
    Required(&'a mut TensorSource),
    Optional(&'a mut Option<TensorSource>, f64),
}

enum Offset<'a> {
    None,
    Gain(&'a mut f64),
    Rows(&'a mut usize),
}

impl Slot<'_> {
    fn source(&self) -> Option<&TensorSource> {
        match &self.place {
            Place::Required(source) => Some(source),
            Place::Optional(source, _) => source.as_ref(),
        }
    }

    /// The tensor cut to the canonical layout, if there is one.
    pub(super) fn canonical_source(&self) -> Option<TensorSource> {
        let mut source = self.source()?.clone();
        source.cut.extend_from_slice(&self.to_canonical);
        Some(source)
    }

    /// The value that would change nothing, if there is no tensor.
    pub(super) fn absent(&self) -> Option<f64> {
        match self.place {
            Place::Optional(None, neutral) => Some(neutral),
            Place::Optional(Some(_), _) | Place::Required(_) => None,
        }
    }

    /// Puts the canonical name in the place of the stored ones, and gives the source as it was.
    pub(super) fn rename(&mut self) -> Option<TensorSource> {
        let source = match &mut self.place {
            Place::Required(source) => source,
            Place::Optional(source, _) => source.as_mut()?,
        };
        let before = source.clone();
        source.names = vec![self.name.clone()];
        Some(before)
    }

    /// From now on a tensor in canonical layout.
    pub(super) fn take_canonical(self) {
        let canonical = TensorSource {
            names: vec![self.name],
            shape: self.shape,
            cut: self.from_canonical,
        };
        match self.place {
            Place::Required(source) => *source = canonical,
            Place::Optional(source, _) => *source = Some(canonical),
        }
        match self.offset {
            Offset::None => {}
            Offset::Gain(offset) => *offset = 0.0,
            Offset::Rows(offset) => *offset = 0,
        }
    }
}

/// All of them, in execution order.
pub(super) fn slots(spec: &mut ModelSpec) -> Vec<Slot<'_>> {
    let d_model = spec.d_model;
    let mut list = List::default();
    let tokens = vec![spec.d_vocab, d_model];
    list.required("embed.W_E", tokens, &mut spec.embedding.tokens);
    if let Some(norm) = &mut spec.embedding.norm {
        list.norm("embed.ln", d_model, norm);
    }
    if let Some(positions) = &mut spec.embedding.positions {
        list.positions(d_model, positions);
    }
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let block = format!("blocks.{index}");
        if let Some(branch) = &mut layer.attn {
            list.branch(&format!("{block}.ln1"), d_model, branch, |list, body| {
                list.attention(&format!("{block}.attn"), d_model, body);
            });
        }
        if let Some(branch) = &mut layer.mlp {
            list.branch(&format!("{block}.ln2"), d_model, branch, |list, body| {
                list.mlp(&format!("{block}.mlp"), d_model, body);
            });
        }
    }
    if let Some(norm) = &mut spec.final_norm {
        list.norm("ln_final", d_model, norm);
    }
    let (head, width) = (&mut spec.unembed.projection, spec.unembed.d_vocab_out);
    list.linear("unembed.W_U", "unembed.b_U", [d_model, width], head);
    list.slots
}

#[derive(Default)]
struct List<'a> {
    slots: Vec<Slot<'a>>,
}

impl<'a> List<'a> {
    /// A weight that the component takes in its canonical layout.
    fn push(&mut self, name: &str, shape: Vec<usize>, place: Place<'a>) -> &mut Slot<'a> {
        let index = self.slots.len();
        self.slots.push(Slot {
            name: name.to_owned(),
            shape,
            place,
            offset: Offset::None,
            to_canonical: Vec::new(),
            from_canonical: Vec::new(),
        });
        &mut self.slots[index]
    }

    fn required(&mut self, name: &str, shape: Vec<usize>, source: &'a mut TensorSource) {
        self.push(name, shape, Place::Required(source));
    }

    fn positions(&mut self, d_model: usize, table: &'a mut PositionTable) {
        let stored = table.table.cut_shape().unwrap_or_default();
        let rows = stored.first().copied().unwrap_or(0);
        let (start, len) = (table.offset, rows.saturating_sub(table.offset));
        let place = Place::Required(&mut table.table);
        let slot = self.push("pos_embed.W_pos", vec![len, d_model], place);
        if start != 0 {
            slot.to_canonical = vec![Cut::Slice { dim: 0, start, len }];
        }
        slot.offset = Offset::Rows(&mut table.offset);
    }

    fn norm(&mut self, name: &str, width: usize, norm: &'a mut NormSpec) {
        let gain = Place::Optional(&mut norm.gain, 1.0);
        let slot = self.push(&format!("{name}.w"), vec![width], gain);
        if norm.gain_offset != 0.0 {
            let values = vec![norm.gain_offset];
            slot.to_canonical = vec![Cut::Add { values }];
        }
        slot.offset = Offset::Gain(&mut norm.gain_offset);
        let bias = Place::Optional(&mut norm.bias, 0.0);
        self.push(&format!("{name}.b"), vec![width], bias);
    }

    fn branch<T>(
        &mut self,
        norm: &str,
        d_model: usize,
        branch: &'a mut Branch<T>,
        body: impl FnOnce(&mut Self, &'a mut T),
    ) {
        if let BranchInput::Norm(input) = &mut branch.input {
            self.norm(norm, d_model, input);
        }
        body(self, &mut branch.body);
        if let Some(output) = &mut branch.output_norm {
            self.norm(&format!("{norm}_post"), d_model, output);
        }
        if let Some(sum) = &mut branch.sum_norm {
            self.norm(&format!("{norm}_sum"), d_model, sum);
        }
    }

    fn attention(&mut self, name: &str, d_model: usize, attention: &'a mut AttentionSpec) {
        let (heads, kv_heads) = (attention.n_heads, attention.n_kv_heads);
        let d_head = attention.d_head;
        for (letter, heads, projection) in [
            ("Q", heads, &mut attention.q),
            ("K", kv_heads, &mut attention.k),
            ("V", kv_heads, &mut attention.v),
        ] {
            self.per_head(name, letter, [heads, d_model, d_head], projection);
        }
        self.joining_heads(name, [heads, d_head, d_model], &mut attention.o);
        if let Some(norms) = &mut attention.qk_norm {
            self.head_norm(&format!("{name}.q_norm"), heads, d_head, &mut norms.q);
            self.head_norm(&format!("{name}.k_norm"), kv_heads, d_head, &mut norms.k);
        }
        if let Some(sinks) = &mut attention.sinks {
            self.required(&format!("{name}.sinks"), vec![heads], sinks);
        }
        if let PositionSpec::RelativeBias(bias) = &mut attention.position {
            let shape = bias.table.cut_shape().unwrap_or_default();
            self.required(&format!("{name}.rel_pos_bias"), shape, &mut bias.table);
        }
    }

    /// `W_X [heads, d_model, d_head]` and `b_X [heads, d_head]`, taken as `[heads * d_head, d_model]`.
    fn per_head(
        &mut self,
        name: &str,
        letter: &str,
        [heads, d_model, d_head]: [usize; 3],
        projection: &'a mut ProjectionSpec,
    ) {
        let reshape = |shape: &[usize]| Cut::Reshape {
            shape: shape.to_vec(),
        };
        let swap = Cut::Permute {
            dims: vec![0, 2, 1],
        };
        let weight = Place::Required(&mut projection.weight);
        let shape = vec![heads, d_model, d_head];
        let slot = self.push(&format!("{name}.W_{letter}"), shape, weight);
        slot.to_canonical = vec![reshape(&[heads, d_head, d_model]), swap.clone()];
        slot.from_canonical = vec![swap, reshape(&[heads * d_head, d_model])];
        let bias = Place::Optional(&mut projection.bias, 0.0);
        let slot = self.push(&format!("{name}.b_{letter}"), vec![heads, d_head], bias);
        slot.to_canonical = vec![reshape(&[heads, d_head])];
        slot.from_canonical = vec![reshape(&[heads * d_head])];
    }

    /// `W_O [heads, d_head, d_model]` and `b_O [d_model]`, taken as `[d_model, heads * d_head]`.
    fn joining_heads(
        &mut self,
        name: &str,
        [heads, d_head, d_model]: [usize; 3],
        projection: &'a mut ProjectionSpec,
    ) {
        let shape = vec![heads, d_head, d_model];
        let weight = Place::Required(&mut projection.weight);
        let slot = self.push(&format!("{name}.W_O"), shape.clone(), weight);
        slot.to_canonical = vec![Cut::Transpose, Cut::Reshape { shape }];
        let shape = vec![heads * d_head, d_model];
        slot.from_canonical = vec![Cut::Reshape { shape }, Cut::Transpose];
        let bias = Place::Optional(&mut projection.bias, 0.0);
        self.push(&format!("{name}.b_O"), vec![d_model], bias);
    }

    fn head_norm(&mut self, name: &str, heads: usize, d_head: usize, norm: &'a mut HeadNorm) {
        let width = match norm.extent {
            Extent::Head => d_head,
            Extent::AllHeads => heads * d_head,
        };
        self.norm(name, width, &mut norm.norm);
    }

    fn mlp(&mut self, name: &str, d_model: usize, mlp: &'a mut MlpSpec) {
        match mlp {
            MlpSpec::Dense(dense) => self.dense(name, d_model, dense),
            MlpSpec::Moe(moe) => self.moe(name, d_model, moe),
        }
    }

    fn moe(&mut self, name: &str, d_model: usize, moe: &'a mut MoeSpec) {
        let [weight, bias] = ["W_gate", "b_gate"].map(|part| join(name, part));
        let n_experts = moe.experts.len();
        self.linear(&weight, &bias, [d_model, n_experts], &mut moe.router);
        if let Some(bias) = &mut moe.choice_bias {
            self.required(&join(name, "choice_bias"), vec![n_experts], bias);
        }
        for (index, expert) in moe.experts.iter_mut().enumerate() {
            self.dense(&format!("{name}.experts.{index}"), d_model, expert);
        }
        if let Some(shared) = &mut moe.shared {
            self.dense(&join(name, "shared"), d_model, shared);
        }
    }

    fn dense(&mut self, name: &str, d_model: usize, dense: &'a mut DenseMlp) {
        let d_mlp = dense.d_mlp;
        let [w_in, b_in, w_gate, b_gate, w_out, b_out] =
            ["W_in", "b_in", "W_gate", "b_gate", "W_out", "b_out"].map(|part| join(name, part));
        self.linear(&w_in, &b_in, [d_model, d_mlp], &mut dense.input);
        if let Some(gate) = &mut dense.gate {
            self.linear(&w_gate, &b_gate, [d_model, d_mlp], gate);
        }
        self.linear(&w_out, &b_out, [d_mlp, d_model], &mut dense.output);
    }

    /// A weight `[in, out]` and its bias `[out]`, taken as `[out, in]`.
    fn linear(
        &mut self,
        weight: &str,
        bias: &str,
        shape: [usize; 2],
        projection: &'a mut ProjectionSpec,
    ) {
        let place = Place::Required(&mut projection.weight);
        let slot = self.push(weight, shape.to_vec(), place);
        slot.to_canonical = vec![Cut::Transpose];
        slot.from_canonical = vec![Cut::Transpose];
        let place = Place::Optional(&mut projection.bias, 0.0);
        self.push(bias, vec![shape[1]], place);
    }
}
