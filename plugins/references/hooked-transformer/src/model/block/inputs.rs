//! What attention and MLP of a block read: the stream through their norm, or copies of it, if somebody edits the copies.

use candle_core::Tensor;

use super::super::attention::AttentionInputs;
use super::super::norm::Norm;
use super::observed::observed;
use super::{AttentionBranch, TransformerBlock};
use crate::error::{Error, Result};
use crate::run::Run;

/// Copies of the stream behind hooks of their own, before the norm that all share.
struct Copies {
    stream: Tensor,
    use_of: Use,
}

/// What somebody wants of the copies.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// They are to act.
    Edited,
    /// Their gradients are shown. They pass none on: the norm is to have all of its own once.
    Differentiated,
    /// Their values are shown.
    Shown,
}

impl TransformerBlock {
    /// What queries, keys and values read, and what the stream is through the norm.
    pub(super) fn attention_inputs(
        &self,
        run: &mut Run<'_, '_>,
        attn: &AttentionBranch,
        stream: &Tensor,
    ) -> Result<(AttentionInputs, Tensor)> {
        let norm = attn.branch.norm.as_ref();
        let names = ["attn_in", "q_input", "k_input", "v_input"];
        let copies = match self.copies(run, norm, stream, &names)? {
            Some(copies) => Some((copies.use_of, self.copies_by_head(run, attn, &copies)?)),
            None => None,
        };
        let normalized = normalized(run, norm, stream)?;
        let shared = |heads: usize| per_head(&normalized, heads);
        let (heads, kv_heads) = (attn.n_heads, attn.n_kv_heads);
        let inputs = match copies {
            Some((Use::Edited, copies)) => AttentionInputs {
                q: unhooked(norm, &copies.q)?,
                k: unhooked(norm, &copies.k)?,
                v: unhooked(norm, &copies.v)?,
            },
            Some((Use::Differentiated, copies)) => AttentionInputs {
                q: observed(&shared(heads)?, &copies.q, norm)?,
                k: observed(&shared(kv_heads)?, &copies.k, norm)?,
                v: observed(&shared(kv_heads)?, &copies.v, norm)?,
            },
            Some((Use::Shown, _)) | None => AttentionInputs {
                q: shared(heads)?,
                k: shared(kv_heads)?,
                v: shared(kv_heads)?,
            },
        };
        Ok((inputs, normalized))
    }

    /// The stream through the MLP's own norm.
    pub(super) fn mlp_input(
        &self,
        run: &mut Run<'_, '_>,
        norm: Option<&Norm>,
        stream: &Tensor,
    ) -> Result<Tensor> {
        let mlp_in = run.hook(&self.hook("hook_mlp_in"), stream.clone())?;
        normalized(run, norm, &mlp_in)
    }

    /// What attention read, or a copy of the stream through the norm of attention, if somebody edits the copy.
    pub(super) fn shared_mlp_input(
        &self,
        run: &mut Run<'_, '_>,
        norm: Option<&Norm>,
        stream: &Tensor,
        read: &Tensor,
    ) -> Result<Tensor> {
        let Some(copies) = self.copies(run, norm, stream, &["mlp_in"])? else {
            return Ok(read.clone());
        };
        let copy = run.hook(&self.hook("hook_mlp_in"), copies.stream.clone())?;
        match copies.use_of {
            Use::Edited => unhooked(norm, &copy),
            Use::Differentiated => observed(read, &copy, norm),
            Use::Shown => Ok(read.clone()),
        }
    }

    /// Copies for the hooks `names`, if anybody looks at one of them.
    fn copies(
        &self,
        run: &Run<'_, '_>,
        norm: Option<&Norm>,
        stream: &Tensor,
        names: &[&str],
    ) -> Result<Option<Copies>> {
        let hooks = names.iter().map(|name| self.hook(&format!("hook_{name}")));
        let hooks: Vec<String> = hooks.collect();
        if !hooks.iter().any(|hook| run.probe.looks_at(hook)) {
            return Ok(None);
        }
        if hooks.iter().any(|hook| run.probe.edits(hook)) {
            self.refuse_edit_of_both(run, norm)?;
            return Ok(Some(Copies {
                stream: stream.clone(),
                use_of: Use::Edited,
            }));
        }
        let is_differentiated = hooks.iter().any(|hook| run.probe.shows_gradient(hook));
        Ok(Some(Copies {
            stream: run.leaf(stream.detach())?,
            use_of: if is_differentiated {
                Use::Differentiated
            } else {
                Use::Shown
            },
        }))
    }

    /// One copy per head.
    fn copies_by_head(
        &self,
        run: &mut Run<'_, '_>,
        attn: &AttentionBranch,
        copies: &Copies,
    ) -> Result<AttentionInputs> {
        // One copy per head of queries cannot feed fewer heads of keys and values.
        let all = if attn.n_heads == attn.n_kv_heads {
            let copy = per_head(&copies.stream, attn.n_heads)?;
            Some(run.hook(&self.hook("hook_attn_in"), copy)?)
        } else {
            None
        };
        let mut read = |letter: &str, heads: usize| -> Result<Tensor> {
            let copy = match &all {
                Some(copy) => copy.clone(),
                None => per_head(&copies.stream, heads)?,
            };
            run.hook(&self.hook(&format!("hook_{letter}_input")), copy)
        };
        Ok(AttentionInputs {
            q: read("q", attn.n_heads)?,
            k: read("k", attn.n_kv_heads)?,
            v: read("v", attn.n_kv_heads)?,
        })
    }

    fn refuse_edit_of_both(&self, run: &Run<'_, '_>, norm: Option<&Norm>) -> Result<()> {
        let hooks = norm.map(Norm::hooks).into_iter().flatten();
        let is_used = |hook: &String| run.probe.edits(hook) || run.probe.shows_gradient(hook);
        match hooks.into_iter().find(is_used) {
            Some(hook) => Err(Error::Unanswerable(format!(
                "an edit or gradient at {hook} together with an edit of {}'s inputs per head",
                self.name
            ))),
            None => Ok(()),
        }
    }
}

/// The stream through the norm, where there is one.
fn normalized(run: &mut Run<'_, '_>, norm: Option<&Norm>, stream: &Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(run, stream),
        None => Ok(stream.clone()),
    }
}

/// A copy through the norm, where there is one.
fn unhooked(norm: Option<&Norm>, copy: &Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward_unhooked(copy),
        None => Ok(copy.clone()),
    }
}

/// One copy per head: `[batch, pos, d_model]` to `[batch, pos, head, d_model]`.
fn per_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, pos, d_model) = x.dims3()?;
    Ok(x.unsqueeze(2)?.broadcast_as((batch, pos, heads, d_model))?)
}
