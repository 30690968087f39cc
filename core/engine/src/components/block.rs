//! One block: two branches on the residual stream.

use candle_core::Tensor;
use tlbench_sdk::spec::{LayerSpec, ResidualSource, Wiring};

use super::Run;
use super::attention::{Attention, AttentionInput};
use super::branch::{Exit, Reader, load_reader};
use super::mlp::Mlp;
use crate::error::EngineError;
use crate::probe::per_head;
use crate::weights::Loader;

/// Attention and MLP, one after the other or side by side.
pub(crate) struct Block {
    name: String,
    wiring: Wiring,
    attn: Option<AttentionBranch>,
    mlp: Option<MlpBranch>,
}

struct AttentionBranch {
    reader: Reader,
    body: Attention,
    exit: Exit,
}

struct MlpBranch {
    /// `None`: it reads what attention reads.
    reader: Option<Reader>,
    body: Mlp,
    exit: Exit,
}

/// What a branch has read and written.
struct Passed {
    /// What its body has read.
    input: Tensor,
    /// What it adds.
    output: Tensor,
}

impl Block {
    pub(crate) fn load(
        loader: &Loader<'_>,
        index: usize,
        spec: &LayerSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let name = format!("blocks.{index}");
        let part = |part: &str| format!("{name}.{part}");
        let attn = match &spec.attn {
            Some(branch) => {
                let [norm, hook] = [part("ln1"), part("hook_attn_out")];
                let reader = load_reader(loader, &norm, &branch.input, d_model)?;
                Some(AttentionBranch {
                    reader: reader.ok_or_else(|| no_norm_to_share(&norm))?,
                    body: Attention::load(loader, index, &branch.body, d_model)?,
                    exit: Exit::load(loader, [&norm, &hook], branch, spec.wiring, d_model)?,
                })
            }
            None => None,
        };
        let mlp = match &spec.mlp {
            Some(branch) => {
                let [norm, hook] = [part("ln2"), part("hook_mlp_out")];
                let reader = load_reader(loader, &norm, &branch.input, d_model)?;
                if reader.is_none() && attn.is_none() {
                    return Err(no_norm_to_share(&norm));
                }
                Some(MlpBranch {
                    reader,
                    body: Mlp::load(loader, &part("mlp"), &branch.body, d_model)?,
                    exit: Exit::load(loader, [&norm, &hook], branch, spec.wiring, d_model)?,
                })
            }
            None => None,
        };
        Ok(Self {
            name,
            wiring: spec.wiring,
            attn,
            mlp,
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        stream: Tensor,
    ) -> Result<Tensor, EngineError> {
        let stream = run.hook(&self.hook("hook_resid_pre"), stream)?;
        let after = match self.wiring {
            Wiring::Sequential => self.one_after_the_other(run, &stream)?,
            Wiring::Parallel => self.side_by_side(run, &stream)?,
        };
        run.hook(&self.hook("hook_resid_post"), after)
    }

    fn one_after_the_other(
        &self,
        run: &mut Run<'_, '_>,
        before: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let mut stream = before.clone();
        let mut attended = None;
        if let Some(branch) = &self.attn {
            let passed = self.attend(run, branch, before)?;
            stream = joined(run, &branch.exit, before, &passed)?;
            if self.mlp.is_some() {
                stream = run.hook(&self.hook("hook_resid_mid"), stream)?;
            }
            attended = Some(passed);
        }
        if let Some(branch) = &self.mlp {
            let passed = self.feed_forward(run, branch, [before, &stream], attended.as_ref())?;
            stream = joined(run, &branch.exit, &stream, &passed)?;
        }
        Ok(stream)
    }

    fn side_by_side(&self, run: &mut Run<'_, '_>, before: &Tensor) -> Result<Tensor, EngineError> {
        let attended = match &self.attn {
            Some(branch) => Some(self.attend(run, branch, before)?),
            None => None,
        };
        let fed = match &self.mlp {
            Some(branch) => {
                Some(self.feed_forward(run, branch, [before, before], attended.as_ref())?)
            }
            None => None,
        };
        // GPT-NeoX adds the two branches first.
        let added = match (attended, fed) {
            (Some(attended), Some(fed)) => run.precision.store((fed.output + attended.output)?)?,
            (Some(passed), None) | (None, Some(passed)) => passed.output,
            (None, None) => return Ok(before.clone()),
        };
        Ok((added + before)?)
    }

    fn attend(
        &self,
        run: &mut Run<'_, '_>,
        branch: &AttentionBranch,
        stream: &Tensor,
    ) -> Result<Passed, EngineError> {
        let AttentionBranch { reader, body, exit } = branch;
        let input = self.attention_input(run, reader, body, stream)?;
        let output = body.forward(run, &input)?;
        let output = exit.leave(run, output)?;
        // A use of the norm that nothing comes of would be a gradient that is missing.
        let is_read_again = exit.residual == ResidualSource::Input
            || (self.shares_norm() && !run.probe.is_passed_through(&self.hook("hook_mlp_in")));
        let input = match input {
            AttentionInput::Shared(input) => input,
            AttentionInput::PerHead(_) if is_read_again => {
                reader.forward_copy(run, stream, stream)?
            }
            // Nobody else reads it.
            AttentionInput::PerHead(_) => stream.clone(),
        };
        Ok(Passed { input, output })
    }

    /// The MLP branch on the stream as it is by now, in a block that it came to as `before`.
    fn feed_forward(
        &self,
        run: &mut Run<'_, '_>,
        branch: &MlpBranch,
        [before, now]: [&Tensor; 2],
        attended: Option<&Passed>,
    ) -> Result<Passed, EngineError> {
        let input = match (&branch.reader, &self.attn, attended) {
            (None, Some(attn), Some(attended)) => {
                self.shared_input(run, &attn.reader, before, &attended.input)?
            }
            (reader, ..) => {
                let copy = run.hook(&self.hook("hook_mlp_in"), now.clone())?;
                reader
                    .as_ref()
                    .unwrap_or(&Reader::Stream)
                    .forward(run, &copy)?
            }
        };
        let output = branch.body.forward(run, &input)?;
        let output = branch.exit.leave(run, output)?;
        Ok(Passed { input, output })
    }

    /// What attention reads; if somebody edits the MLP's copy of the stream, or asks for its gradient, that copy through
    /// the same norm.
    fn shared_input(
        &self,
        run: &mut Run<'_, '_>,
        reader: &Reader,
        stream: &Tensor,
        attended: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let hook = self.hook("hook_mlp_in");
        let copy = run.hook(&hook, stream.clone())?;
        if !run.probe.is_passed_through(&hook) {
            return Ok(attended.clone());
        }
        reader.refuse_edited_gradients(run)?;
        reader.forward_copy(run, stream, &copy)
    }

    /// The stream through the norm; split into copies per head, each with a norm of its own, only if somebody edits
    /// such a copy or asks for its gradient.
    fn attention_input(
        &self,
        run: &mut Run<'_, '_>,
        norm: &Reader,
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

    /// Whether the MLP reads what attention reads.
    fn shares_norm(&self) -> bool {
        self.mlp.as_ref().is_some_and(|mlp| mlp.reader.is_none())
    }

    fn hook(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

/// The stream after a branch that is added alone.
fn joined(
    run: &mut Run<'_, '_>,
    exit: &Exit,
    stream: &Tensor,
    passed: &Passed,
) -> Result<Tensor, EngineError> {
    let residual = match exit.residual {
        ResidualSource::Stream => stream,
        ResidualSource::Input => &passed.input,
    };
    exit.join(run, residual, &passed.output)
}

fn no_norm_to_share(norm: &str) -> EngineError {
    EngineError::request(norm, "a norm of its own", "one that attention shares")
}
