//! How large a twin is: small, and no two sizes the same, so that no two dimensions can be taken for each other.

use std::collections::BTreeMap;

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{AttentionSpec, MlpSpec, PositionSpec};

use super::contexts::Contexts;

/// Where the search for a width of heads ends.
const MOST_CHANNELS: usize = 128;

/// What a config key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    Vocabulary,
    Width,
    Layers,
    Heads,
    KeyHeads,
    HeadWidth,
    /// `query_pre_attn_scalar`: scores are divided by its root.
    QueryScalar,
    MlpWidth,
    ExpertWidth,
    SharedExpertWidth,
    Experts,
    Context,
    Window,
}

/// The sizes of a twin.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    by_kind: BTreeMap<Size, usize>,
    /// Channels of a head that are rotated.
    pub(super) rotated: usize,
    pub(super) contexts: Contexts,
}

impl Sizes {
    /// Those of a twin of `spec` with `n_layers` layers; `free_heads`: whether heads have a width of their own.
    pub(super) fn of(spec: &ModelSpec, n_layers: usize, free_heads: bool) -> Self {
        let mut distinct = Distinct::default();
        let experts = experts(spec);
        if let Some((_, top_k)) = experts {
            distinct.taken.push(top_k);
        }
        let attentions = spec.layers.iter().filter_map(|layer| layer.attn.as_ref());
        let attention = attentions.map(|branch| &branch.body).next();
        let (heads, key_heads) = attention.map_or((1, 1), heads);
        distinct.taken.extend([heads, key_heads]);
        let (head_width, rotated) = head_width(attention, &mut distinct);
        distinct
            .taken
            .extend([heads * head_width, key_heads * head_width]);
        let width = if free_heads {
            // Some classes want a multiple of the heads even so.
            distinct.from(34_usize.next_multiple_of(heads), heads)
        } else {
            heads * head_width
        };
        let contexts = Contexts::of(spec, rotated);
        distinct.taken.push(contexts.longest);
        let by_kind = [
            (Size::Layers, n_layers),
            (Size::Heads, heads),
            (Size::KeyHeads, key_heads),
            (Size::HeadWidth, head_width),
            (Size::Width, width),
            (Size::Context, contexts.longest),
            // Bytes serve as tokens where there is no tokenizer.
            (Size::Vocabulary, distinct.from(263, 1)),
            (Size::MlpWidth, distinct.from(58, 1)),
            (Size::ExpertWidth, distinct.from(22, 1)),
            (Size::SharedExpertWidth, distinct.from(26, 1)),
            (Size::QueryScalar, distinct.from(14, 1)),
            (Size::Window, distinct.from(7, 1)),
            (
                Size::Experts,
                experts.map_or(1, |(all, top_k)| distinct.experts(all, top_k)),
            ),
        ];
        Self {
            by_kind: by_kind.into(),
            rotated,
            contexts,
        }
    }

    /// One of them.
    pub(super) fn get(&self, size: Size) -> usize {
        self.by_kind.get(&size).copied().unwrap_or(1)
    }
}

/// Hands out sizes that nobody has.
#[derive(Default)]
struct Distinct {
    taken: Vec<usize>,
}

impl Distinct {
    /// The first that is free, from `first` on by steps.
    fn from(&mut self, first: usize, step: usize) -> usize {
        let mut size = first;
        while self.taken.contains(&size) {
            size += step;
        }
        self.taken.push(size);
        size
    }

    /// No more than the model has, and more than a token sees if the model has more.
    fn experts(&mut self, all: usize, top_k: usize) -> usize {
        let (few, some) = (top_k + 1, top_k + 3);
        let mut counts = (some..=all).chain(few..some.min(all));
        let free = counts.find(|count| !self.taken.contains(count));
        free.unwrap_or(all)
    }
}

/// How many experts there are, and how many of them a token sees.
fn experts(spec: &ModelSpec) -> Option<(usize, usize)> {
    let mlps = spec.layers.iter().filter_map(|layer| layer.mlp.as_ref());
    mlps.map(|branch| &branch.body).find_map(|mlp| match mlp {
        MlpSpec::Moe(moe) => Some((moe.experts.len(), moe.top_k)),
        MlpSpec::Dense(_) => None,
    })
}

/// Heads of queries and of keys.
fn heads(attention: &AttentionSpec) -> (usize, usize) {
    match attention.n_kv_heads {
        // The slopes of as many heads as a power of two are another formula.
        all if all == attention.n_heads => match attention.position {
            PositionSpec::Alibi(_) if all.is_power_of_two() => (4, 4),
            PositionSpec::Alibi(_) => (5, 5),
            _ => (3, 3),
        },
        1 => (4, 1),
        _ => (6, 2),
    }
}

/// The width of a head, and how much of it is rotated: the same share as in the model, in two pairs at least.
fn head_width(attention: Option<&AttentionSpec>, distinct: &mut Distinct) -> (usize, usize) {
    const NARROWEST: usize = 10;
    let share = attention.and_then(|attention| match &attention.position {
        PositionSpec::Rotary(rotary) => Some(rotary.dim as f64 / attention.d_head as f64),
        _ => None,
    });
    let Some(share) = share else {
        return (distinct.from(NARROWEST, 2), 0);
    };
    let whole_pairs = |&width: &usize| {
        let rotated = width as f64 * share / 2.0;
        rotated >= 2.0 && (rotated - rotated.round()).abs() < 1e-9
    };
    let mut widths = (NARROWEST..=MOST_CHANNELS).step_by(2).filter(whole_pairs);
    let width = widths.find(|width| !distinct.taken.contains(width));
    // Of an odd share the adapter says what it makes of it.
    let width = width.unwrap_or(MOST_CHANNELS);
    distinct.taken.push(width);
    (width, (width as f64 * share).round() as usize)
}
