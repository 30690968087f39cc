//! Weights under TransformerLens's names, in its layout.

mod slot;

use self::slot::slots;
use super::{ModelSpec, TensorSource};

/// A weight under TransformerLens's name, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct CanonicalWeight {
    /// `blocks.0.attn.W_Q`.
    pub name: String,
    /// The checkpoint tensor, cut to the canonical layout.
    pub source: TensorSource,
}

/// A weight that a component could have and does not.
#[derive(Clone, Debug, PartialEq)]
pub struct AbsentWeight {
    /// `unembed.b_U`.
    pub name: String,
    /// Its canonical shape.
    pub shape: Vec<usize>,
    /// What each element would have to be to change nothing: 1 in a gain, 0 in a bias.
    pub neutral: f64,
}

impl ModelSpec {
    /// Every weight of the model under its canonical name and in its canonical layout: `W_E [d_vocab, d_model]`,
    /// `W_pos [n_ctx, d_model]`, `W_Q [n_heads, d_model, d_head]`, `b_Q [n_heads, d_head]`,
    /// `W_O [n_heads, d_head, d_model]`, `W_in [d_model, d_mlp]`, `W_out [d_mlp, d_model]`, `W_U [d_model, d_vocab_out]`.
    ///
    /// Names and layouts are those of TransformerLens's `HookedTransformer.state_dict`; a norm's gain is `w`, with its
    /// offset added, its bias `b`.
    pub fn weights(&self) -> Vec<CanonicalWeight> {
        // One walk serves reading and writing, and a spec is small.
        let mut spec = self.clone();
        slots(&mut spec)
            .into_iter()
            .filter_map(|slot| {
                Some(CanonicalWeight {
                    source: slot.canonical_source()?,
                    name: slot.name,
                })
            })
            .collect()
    }

    /// The weights that the components of this model could have and do not.
    pub fn absent_weights(&self) -> Vec<AbsentWeight> {
        let mut spec = self.clone();
        slots(&mut spec)
            .into_iter()
            .filter_map(|slot| {
                Some(AbsentWeight {
                    neutral: slot.absent()?,
                    name: slot.name,
                    shape: slot.shape,
                })
            })
            .collect()
    }

    /// Makes every weight a tensor of its own, named canonically, and still stored and cut as it was. Gives each name
    /// with the source that it had.
    pub fn rename_weights(&mut self) -> Vec<CanonicalWeight> {
        slots(self)
            .into_iter()
            .filter_map(|mut slot| {
                let source = slot.rename()?;
                let name = slot.name;
                Some(CanonicalWeight { name, source })
            })
            .collect()
    }

    /// Takes the weight `name` from a tensor of that name, stored in canonical layout; a component that has no such
    /// weight yet gets one. `false`: no component could have it.
    pub fn take_canonical(&mut self, name: &str) -> bool {
        let slot = slots(self).into_iter().find(|slot| slot.name == name);
        slot.map(slot::Slot::take_canonical).is_some()
    }
}
