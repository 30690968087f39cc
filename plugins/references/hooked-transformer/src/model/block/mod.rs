//! One block: attention and MLP, each added to the residual stream.

mod inputs;
mod observed;

use candle_core::Tensor;
use tlbench_sdk::spec::{BranchInput, LayerSpec, Wiring};

use super::attention::Attention;
use super::branch::{Branch, Read};
use super::mlp::Mlp;
use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// A block whose MLP reads what attention wrote, or both of which read the block's input.
pub(crate) struct TransformerBlock {
    name: String,
    wiring: Wiring,
    attn: Option<AttentionBranch>,
    mlp: Option<MlpBranch>,
}

struct AttentionBranch {
    branch: Branch<Attention>,
    n_heads: usize,
    n_kv_heads: usize,
}

struct MlpBranch {
    branch: Branch<Mlp>,
    /// It reads through the norm of attention.
    shares_norm: bool,
}

impl TransformerBlock {
    pub(crate) fn new(index: usize, spec: &LayerSpec, weights: &RunWeights) -> Result<Self> {
        let name = format!("blocks.{index}");
        let attn = spec.attn.as_ref().map(|spec| -> Result<_> {
            let body = Attention::new(index, &spec.body, weights)?;
            let (ln, out) = (format!("{name}.ln1"), format!("{name}.hook_attn_out"));
            Ok(AttentionBranch {
                n_heads: spec.body.n_heads,
                n_kv_heads: spec.body.n_kv_heads,
                branch: Branch::new(&ln, out, spec, body, weights)?,
            })
        });
        let mlp = spec.mlp.as_ref().map(|spec| -> Result<_> {
            let body = Mlp::new(&format!("{name}.mlp"), &spec.body, weights)?;
            let (ln, out) = (format!("{name}.ln2"), format!("{name}.hook_mlp_out"));
            Ok(MlpBranch {
                shares_norm: spec.input == BranchInput::SharedNorm,
                branch: Branch::new(&ln, out, spec, body, weights)?,
            })
        });
        Ok(Self {
            wiring: spec.wiring,
            attn: attn.transpose()?,
            mlp: mlp.transpose()?,
            name,
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, residual: Tensor) -> Result<Tensor> {
        let residual = run.hook(&self.hook("hook_resid_pre"), residual)?;
        let residual = match (self.wiring, &self.attn, &self.mlp) {
            (_, None, None) => residual,
            (_, Some(attn), None) => self.after_attention(run, attn, &residual)?.0,
            (_, None, Some(mlp)) => self.after_mlp(run, mlp, &residual, None)?,
            (Wiring::Sequential, Some(attn), Some(mlp)) => {
                let (mid, normalized) = self.after_attention(run, attn, &residual)?;
                let mid = run.hook(&self.hook("hook_resid_mid"), mid)?;
                self.after_mlp(run, mlp, &mid, Some((attn, &normalized)))?
            }
            (Wiring::Parallel, Some(attn), Some(mlp)) => {
                self.after_both(run, attn, mlp, &residual)?
            }
        };
        run.hook(&self.hook("hook_resid_post"), residual)
    }

    /// The stream with what attention writes, and what it read.
    fn after_attention(
        &self,
        run: &mut Run<'_, '_>,
        attn: &AttentionBranch,
        stream: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (written, normalized) = self.attention(run, attn, stream)?;
        let read = Read {
            stream,
            normalized: &normalized,
        };
        let joined = attn.branch.joined(&read, &written)?;
        Ok((joined, normalized))
    }

    fn after_mlp(
        &self,
        run: &mut Run<'_, '_>,
        mlp: &MlpBranch,
        stream: &Tensor,
        attn: Option<(&AttentionBranch, &Tensor)>,
    ) -> Result<Tensor> {
        let (written, normalized) = self.mlp(run, mlp, stream, attn)?;
        let read = Read {
            stream,
            normalized: &normalized,
        };
        mlp.branch.joined(&read, &written)
    }

    /// The stream with what both write, which is added once.
    fn after_both(
        &self,
        run: &mut Run<'_, '_>,
        attn: &AttentionBranch,
        mlp: &MlpBranch,
        stream: &Tensor,
    ) -> Result<Tensor> {
        let (by_attn, normalized) = self.attention(run, attn, stream)?;
        let (by_mlp, _) = self.mlp(run, mlp, stream, Some((attn, &normalized)))?;
        let read = Read {
            stream,
            normalized: &normalized,
        };
        attn.branch.joined(&read, &(by_attn + by_mlp)?)
    }

    /// What attention writes, and what it read.
    fn attention(
        &self,
        run: &mut Run<'_, '_>,
        attn: &AttentionBranch,
        stream: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (inputs, normalized) = self.attention_inputs(run, attn, stream)?;
        let out = attn.branch.body.forward(run, &inputs)?;
        Ok((attn.branch.written(run, out)?, normalized))
    }

    /// What the MLP writes, and what it read.
    fn mlp(
        &self,
        run: &mut Run<'_, '_>,
        mlp: &MlpBranch,
        stream: &Tensor,
        attn: Option<(&AttentionBranch, &Tensor)>,
    ) -> Result<(Tensor, Tensor)> {
        let normalized = match attn {
            Some((attn, read)) if mlp.shares_norm => {
                self.shared_mlp_input(run, attn.branch.norm.as_ref(), stream, read)?
            }
            _ => self.mlp_input(run, mlp.branch.norm.as_ref(), stream)?,
        };
        let out = mlp.branch.body.forward(run, &normalized)?;
        Ok((mlp.branch.written(run, out)?, normalized))
    }

    fn hook(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}
