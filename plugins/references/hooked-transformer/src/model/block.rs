//! One block: attention and MLP, each added to the residual stream.

use candle_core::Tensor;
use tlbench_sdk::spec::{LayerSpec, MlpSpec};

use super::attention::{Attention, AttentionInputs};
use super::mlp::Mlp;
use super::norm::Norm;
use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::run::Run;

/// A block whose MLP reads what attention wrote.
pub(crate) struct TransformerBlock {
    name: String,
    attn: Option<AttentionBranch>,
    mlp: Option<(Norm, Mlp)>,
}

struct AttentionBranch {
    ln1: Norm,
    attn: Attention,
    n_heads: usize,
}

impl TransformerBlock {
    pub(crate) fn new(index: usize, spec: &LayerSpec, weights: &Parameters) -> Result<Self> {
        let name = format!("blocks.{index}");
        let norm = |ln: &str, norm| Norm::new(&format!("{name}.{ln}"), norm, weights);
        let mut block = Self {
            name: name.clone(),
            attn: None,
            mlp: None,
        };
        if let Some(branch) = &spec.attn
            && let Some(ln1) = branch.input_norm()
        {
            block.attn = Some(AttentionBranch {
                ln1: norm("ln1", ln1),
                attn: Attention::new(index, &branch.body, weights)?,
                n_heads: branch.body.n_heads,
            });
        }
        if let Some(branch) = &spec.mlp
            && let (Some(ln2), MlpSpec::Dense(mlp)) = (branch.input_norm(), &branch.body)
        {
            let mlp = Mlp::new(format!("{name}.mlp"), mlp, weights)?;
            block.mlp = Some((norm("ln2", ln2), mlp));
        }
        Ok(block)
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, residual: Tensor) -> Result<Tensor> {
        let hook = |name: &str| format!("{}.{name}", self.name);
        let mut residual = run.hook(&hook("hook_resid_pre"), residual)?;
        if let Some(branch) = &self.attn {
            let inputs = self.attention_inputs(run, branch, &residual)?;
            let out = branch.attn.forward(run, &inputs)?;
            residual = (residual + run.hook(&hook("hook_attn_out"), out)?)?;
            if self.mlp.is_some() {
                residual = run.hook(&hook("hook_resid_mid"), residual)?;
            }
        }
        if let Some((ln2, mlp)) = &self.mlp {
            let mlp_in = run.hook(&hook("hook_mlp_in"), residual.clone())?;
            let normalized = ln2.forward(run, &mlp_in)?;
            let out = mlp.forward(run, &normalized)?;
            residual = (residual + run.hook(&hook("hook_mlp_out"), out)?)?;
        }
        run.hook(&hook("hook_resid_post"), residual)
    }

    /// What queries, keys and values read: the stream through the norm, or copies of the stream for each head through
    /// the same norm, if somebody edits the copies.
    fn attention_inputs(
        &self,
        run: &mut Run<'_, '_>,
        branch: &AttentionBranch,
        residual: &Tensor,
    ) -> Result<AttentionInputs> {
        let normalized = branch.ln1.forward(run, residual)?;
        let shared = per_head(&normalized, branch.n_heads)?;
        let shared = || AttentionInputs {
            q: shared.clone(),
            k: shared.clone(),
            v: shared.clone(),
        };
        let attn_in = format!("{}.hook_attn_in", self.name);
        let inputs = ["q", "k", "v"].map(|letter| format!("{}.hook_{letter}_input", self.name));
        let gated = || inputs.iter().chain([&attn_in]);
        if !gated().any(|name| run.probe.looks_at(name)) {
            return Ok(shared());
        }
        let edited = gated().any(|name| run.probe.edits(name));
        if edited {
            self.refuse_edit_of_both(run, &branch.ln1)?;
        }
        // Copies that are only looked at get their gradient, and pass none on: the norm is to have all of its own once.
        let (stream, ln1) = if edited {
            (residual.clone(), None)
        } else {
            (run.leaf(residual.detach())?, Some(branch.ln1.detached()))
        };
        let ln1 = ln1.as_ref().unwrap_or(&branch.ln1);
        let copies = run.hook(&attn_in, per_head(&stream, branch.n_heads)?)?;
        let mut read = Vec::with_capacity(3);
        for name in &inputs {
            let copy = run.hook(name, copies.clone())?;
            read.push(ln1.forward_unhooked(&copy)?);
        }
        let Ok([q, k, v]) = <[Tensor; 3]>::try_from(read) else {
            return Ok(shared());
        };
        if edited {
            return Ok(AttentionInputs { q, k, v });
        }
        if !gated().any(|name| run.probe.shows_gradient(name)) {
            return Ok(shared());
        }
        // 0 in value, and the copy in its derivative.
        let observed = |shared: Tensor, copy: &Tensor| -> Result<Tensor> {
            Ok((shared + (copy - copy.detach())?)?)
        };
        let AttentionInputs {
            q: shared_q,
            k: shared_k,
            v: shared_v,
        } = shared();
        Ok(AttentionInputs {
            q: observed(shared_q, &q)?,
            k: observed(shared_k, &k)?,
            v: observed(shared_v, &v)?,
        })
    }

    fn refuse_edit_of_both(&self, run: &Run<'_, '_>, ln1: &Norm) -> Result<()> {
        let hooks = ln1.hooks();
        let is_used = |hook: &String| run.probe.edits(hook) || run.probe.shows_gradient(hook);
        match hooks.iter().find(|hook| is_used(hook)) {
            Some(hook) => Err(Error::Unanswerable(format!(
                "an edit or gradient at {hook} together with an edit of {}'s inputs per head",
                self.name
            ))),
            None => Ok(()),
        }
    }
}

/// One copy per head: `[batch, pos, d_model]` to `[batch, pos, head, d_model]`.
fn per_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, pos, d_model) = x.dims3()?;
    Ok(x.unsqueeze(2)?.broadcast_as((batch, pos, heads, d_model))?)
}
