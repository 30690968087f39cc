//! One block: two branches on the residual stream.

use candle_core::Tensor;
use tlbench_sdk::spec::{Branch, BranchInput, LayerSpec, ResidualSource, Wiring};

use super::attention::{Attention, AttentionInput};
use super::mlp::Mlp;
use super::{Norm, Run};
use crate::error::EngineError;
use crate::probe::per_head;
use crate::weights::Loader;

/// A block of sequential wiring.
pub(crate) struct Block {
    name: String,
    attn: Option<(Norm, Attention)>,
    mlp: Option<(Norm, Mlp)>,
}

impl Block {
    pub(crate) fn load(
        loader: &Loader<'_>,
        index: usize,
        spec: &LayerSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let name = format!("blocks.{index}");
        if spec.wiring != Wiring::Sequential {
            return Err(EngineError::not_implemented(
                &name,
                "parallel attention and MLP",
            ));
        }
        let attn = match &spec.attn {
            Some(branch) => Some((
                load_norm(loader, &format!("{name}.ln1"), branch, d_model)?,
                Attention::load(loader, index, &branch.body, d_model)?,
            )),
            None => None,
        };
        let mlp = match &spec.mlp {
            Some(branch) => Some((
                load_norm(loader, &format!("{name}.ln2"), branch, d_model)?,
                Mlp::load(loader, &format!("{name}.mlp"), &branch.body, d_model)?,
            )),
            None => None,
        };
        Ok(Self { name, attn, mlp })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        stream: Tensor,
    ) -> Result<Tensor, EngineError> {
        let mut stream = run.hook(&self.hook("hook_resid_pre"), stream)?;
        if let Some((norm, attention)) = &self.attn {
            let input = self.attention_input(run, norm, attention, &stream)?;
            let out = attention.forward(run, &input)?;
            let out = run.hook(&self.hook("hook_attn_out"), out)?;
            stream = (stream + out)?;
            if self.mlp.is_some() {
                stream = run.hook(&self.hook("hook_resid_mid"), stream)?;
            }
        }
        if let Some((norm, mlp)) = &self.mlp {
            let input = run.hook(&self.hook("hook_mlp_in"), stream.clone())?;
            let input = norm.forward(run, &input)?;
            let out = mlp.forward(run, &input)?;
            let out = run.hook(&self.hook("hook_mlp_out"), out)?;
            stream = (stream + out)?;
        }
        run.hook(&self.hook("hook_resid_post"), stream)
    }

    /// The stream through the norm; split into copies per head, each with a norm of its own, only if somebody edits
    /// such a copy or asks for its gradient.
    fn attention_input(
        &self,
        run: &mut Run<'_, '_>,
        norm: &Norm,
        attention: &Attention,
        stream: &Tensor,
    ) -> Result<AttentionInput, EngineError> {
        let attn_in = self.hook("hook_attn_in");
        let inputs = ["hook_q_input", "hook_k_input", "hook_v_input"].map(|hook| self.hook(hook));
        let names = || std::iter::once(&attn_in).chain(&inputs);
        if !names().any(|name| run.probe.looks_at(name)) {
            return Ok(AttentionInput::Shared(norm.forward(run, stream)?));
        }
        let [q, k, v] = &inputs;
        let (for_queries, for_keys) = if attention.n_heads == attention.n_kv_heads {
            let copies = run.hook(&attn_in, per_head(stream, attention.n_heads)?)?;
            (copies.clone(), copies)
        } else {
            // One copy per query head cannot feed fewer key and value heads.
            let copies = |heads| per_head(stream, heads);
            (copies(attention.n_heads)?, copies(attention.n_kv_heads)?)
        };
        let copies = [
            run.hook(q, for_queries)?,
            run.hook(k, for_keys.clone())?,
            run.hook(v, for_keys)?,
        ];
        if !names().any(|name| run.probe.is_passed_through(name)) {
            return Ok(AttentionInput::Shared(norm.forward(run, stream)?));
        }
        norm.refuse_edited_gradients(run)?;
        Ok(AttentionInput::PerHead(
            norm.forward_copies(run, stream, &copies)?,
        ))
    }

    fn hook(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

fn load_norm<T>(
    loader: &Loader<'_>,
    name: &str,
    branch: &Branch<T>,
    d_model: usize,
) -> Result<Norm, EngineError> {
    let unimplemented = [
        (branch.output_norm.is_some(), "a norm of a branch's output"),
        (branch.sum_norm.is_some(), "a norm of the sum"),
        (branch.output_scale != 1.0, "a scale of a branch's output"),
        (
            branch.residual != ResidualSource::Stream,
            "a residual taken after the norm",
        ),
    ];
    if let Some((_, feature)) = unimplemented.iter().find(|(asked, _)| *asked) {
        return Err(EngineError::not_implemented(name, *feature));
    }
    match &branch.input {
        BranchInput::Norm(norm) => Norm::load(loader, name, norm, d_model),
        BranchInput::Stream | BranchInput::SharedNorm => Err(EngineError::not_implemented(
            name,
            "a branch without a norm of its own",
        )),
    }
}
