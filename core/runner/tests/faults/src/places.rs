//! Hooks that show what stands elsewhere.

use tlbench_sdk::{Quantity, short_name};

/// The quantity at the hook `other` of the same block, for a value at the hook `hook`.
fn moved(quantity: &Quantity, hook: &str, other: &str) -> Option<Quantity> {
    let name = quantity.as_hook()?;
    let block = name.strip_suffix(hook)?;
    Some(Quantity::Hook(format!("{block}{other}")))
}

/// The stream after attention shows what it was before.
pub(crate) fn mid_before_attention(quantity: &Quantity) -> Option<Quantity> {
    moved(quantity, ".hook_resid_mid", ".hook_resid_pre")
}

/// What the MLP reads is shown as what attention has read.
pub(crate) fn mlp_in_before_attention(quantity: &Quantity) -> Option<Quantity> {
    moved(quantity, ".hook_mlp_in", ".hook_resid_pre")
}

/// The end of the first block is the tensor that the second one begins with.
pub(crate) fn end_is_next_beginning(quantity: &Quantity) -> Option<Quantity> {
    let is_end = quantity.as_hook() == Some("blocks.0.hook_resid_post");
    is_end.then(|| Quantity::hook("blocks.1.hook_resid_pre"))
}

/// The gradient at a pattern is the one before the softmax.
pub(crate) fn gradient_before_softmax(quantity: &Quantity) -> Option<Quantity> {
    let Quantity::HookGradient(name) = quantity else {
        return None;
    };
    let block = name.strip_suffix("hook_pattern")?;
    let is_pattern = short_name(name) == "attn.hook_pattern";
    is_pattern.then(|| Quantity::HookGradient(format!("{block}hook_attn_scores")))
}
