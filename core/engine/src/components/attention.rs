//! Softmax attention, with its hooks.

use candle_core::Tensor;
use tlbench_sdk::spec::{AttentionSpec, Mask, PositionSpec};

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::Loader;

/// Multi-head attention.
pub(crate) struct Attention {
    name: String,
    layer: usize,
    pub(crate) n_heads: usize,
    d_head: usize,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    scale: f64,
    mask: Mask,
}

/// What queries, keys and values are made from.
pub(crate) enum AttentionInput {
    /// `[batch, pos, d_model]`, one for all.
    Shared(Tensor),
    /// `[batch, pos, heads, d_model]`, one per head, for each of the three.
    PerHead([Tensor; 3]),
}

impl Attention {
    pub(crate) fn load(
        loader: &Loader<'_>,
        layer: usize,
        spec: &AttentionSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let name = &format!("blocks.{layer}.attn");
        refuse_unimplemented(name, spec)?;
        let width = spec.n_heads * spec.d_head;
        Ok(Self {
            name: name.clone(),
            layer,
            n_heads: spec.n_heads,
            d_head: spec.d_head,
            q: loader.linear(&format!("{name}.q"), &spec.q, width, d_model)?,
            k: loader.linear(&format!("{name}.k"), &spec.k, width, d_model)?,
            v: loader.linear(&format!("{name}.v"), &spec.v, width, d_model)?,
            o: loader.linear(&format!("{name}.o"), &spec.o, d_model, width)?,
            scale: spec.scale,
            mask: spec.mask,
        })
    }

    /// `[batch, pos, d_model]`: what is added to the stream.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        input: &AttentionInput,
    ) -> Result<Tensor, EngineError> {
        let q = self.heads(run, "hook_q", &self.q, input, 0)?;
        let k = self.heads(run, "hook_k", &self.k, input, 1)?;
        let v = self.heads(run, "hook_v", &self.v, input, 2)?;
        let (k, v) = run.with_past(self.layer, k, v)?;
        let z = self.mix(run, &q, &k, &v)?;
        self.output(run, &z)
    }

    /// Queries, keys or values as the model goes on with them, `[batch, heads, pos, d_head]` as HF multiplies them.
    fn heads(
        &self,
        run: &mut Run<'_, '_>,
        hook: &str,
        linear: &Linear,
        input: &AttentionInput,
        index: usize,
    ) -> Result<Tensor, EngineError> {
        let heads = self.project(run, linear, input, index)?;
        let heads = run.hook(&format!("{}.{hook}", self.name), heads)?;
        Ok(heads.transpose(1, 2)?.contiguous()?)
    }

    fn project(
        &self,
        run: &Run<'_, '_>,
        linear: &Linear,
        input: &AttentionInput,
        index: usize,
    ) -> Result<Tensor, EngineError> {
        Ok(match input {
            AttentionInput::Shared(x) => {
                let (batch, pos, _) = x.dims3()?;
                linear
                    .forward(run, x)?
                    .reshape((batch, pos, self.n_heads, self.d_head))?
            }
            AttentionInput::PerHead(inputs) => linear.forward_per_head(run, &inputs[index])?,
        })
    }

    /// From queries `[batch, heads, pos, d_head]`, keys and values `[batch, heads, key_pos, d_head]` to `z [batch, pos, heads, d_head]`.
    fn mix(
        &self,
        run: &mut Run<'_, '_>,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let visible = run.visible(self.mask);
        let scores = run.arithmetic.matmul(q, &k.t()?)?;
        let scores = run.precision.store(scores)?;
        let scores = ops::mask_scores(&scores, self.scale, &visible)?;
        let scores = run.hook(&format!("{}.hook_attn_scores", self.name), scores)?;
        let pattern = run.hook(
            &format!("{}.hook_pattern", self.name),
            ops::softmax(&scores)?,
        )?;
        let z = run
            .arithmetic
            .matmul(&pattern.contiguous()?, v)?
            .transpose(1, 2)?
            .contiguous()?;
        run.hook(&format!("{}.hook_z", self.name), z)
    }

    fn output(&self, run: &mut Run<'_, '_>, z: &Tensor) -> Result<Tensor, EngineError> {
        let hook = format!("{}.hook_result", self.name);
        if run.probe.looks_at(&hook) {
            let result = self.o.result_per_head(run, z)?;
            let result = run.hook(&hook, result)?;
            if run.probe.is_passed_through(&hook) {
                return Ok(self.o.shifted(run, &result.sum(2)?)?);
            }
        }
        Ok(self.o.forward(run, &z.flatten_from(2)?)?)
    }
}

fn refuse_unimplemented(name: &str, spec: &AttentionSpec) -> Result<(), EngineError> {
    let features = [
        (
            spec.n_kv_heads != spec.n_heads,
            "fewer key and value heads than query heads",
        ),
        (spec.clip_qkv.is_some(), "clipping of q, k and v"),
        (spec.qk_norm.is_some(), "norms of queries and keys"),
        (
            spec.position != PositionSpec::None,
            "positions inside attention",
        ),
        (spec.softcap.is_some(), "a softcap of the scores"),
        (spec.sinks.is_some(), "attention sinks"),
    ];
    match features.iter().find(|(asked, _)| *asked) {
        Some((_, feature)) => Err(EngineError::not_implemented(name, *feature)),
        None => Ok(()),
    }
}
