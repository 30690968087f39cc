//! Keys and values of earlier positions, and rows of different lengths.

use tlbench_sdk::spec::Mask;
use tlbench_sdk::{Deviation, FaultEdit, Feature, QuestionEdit, Runs};

use super::rotary::rotated;
use crate::parts::attentions;
use crate::zoo::{Entry, Make};

const fn cache(id: &'static str, description: &'static str, make: Make) -> Entry {
    Entry::new(Feature::Cache, id, description, make)
}

const fn padding(id: &'static str, description: &'static str, make: Make) -> Entry {
    Entry::new(Feature::Padding, id, description, make)
}

const PIECES: &str = "a run through the cache in more than one piece";
const LEFT: &str = "rows that are padded on the left";

pub(crate) const FAULTS: &[Entry] = &[
    cache(
        "cache-kept",
        "a cache that is not emptied between runs",
        Make::Edits(|_| asked(QuestionEdit::CacheKept)),
    )
    .shown_by("two runs through the cache")
    .made_in(&["https://github.com/huggingface/candle/pull/2937"]),
    cache(
        "cache-prepends",
        "a cache that puts new keys and values before those of the past",
        Make::Edits(|_| vec![FaultEdit::Engine(Deviation::CachePrepends)]),
    )
    .shown_by(PIECES)
    .made_in(&["https://github.com/EricLBuehler/mistral.rs/pull/300"]),
    cache(
        "cache-never-read",
        "queries that see no cached key but their own",
        Make::Spec(Runs::Cached, |spec| {
            attentions(spec).for_each(|attention| attention.mask = Mask::sliding(1));
        }),
    )
    .shown_by(PIECES)
    .made_in(&["https://github.com/huggingface/candle/issues/3299"]),
    cache(
        "cache-window-ignored",
        "no sliding window where keys come from a cache",
        Make::Spec(Runs::Cached, |spec| {
            for attention in attentions(spec) {
                if let Mask::Band { back, .. } = &mut attention.mask {
                    *back = None;
                }
            }
        }),
    )
    .shown_by("a run through the cache that is longer than the window")
    .made_in(&["https://github.com/ml-explore/mlx-lm/pull/843"]),
    cache(
        "cache-unmasked",
        "no causal mask within a piece that goes through the cache",
        Make::Edits(|_| vec![FaultEdit::Engine(Deviation::CacheUnmasked)]),
    )
    .shown_by("a piece of more than one token")
    .made_in(&["https://github.com/Mikyx-1/TinyLLM/issues/17"]),
    cache(
        "positions-restart",
        "positions that begin anew with each piece that goes through the cache",
        Make::Edits(|_| asked(QuestionEdit::PositionsRestart)),
    )
    .shown_by(PIECES)
    .made_in(&["https://github.com/TransformerLensOrg/TransformerLens/pull/777"]),
    cache(
        "positions-run-ahead",
        "positions that are one too large once there is a cache",
        Make::Edits(|spec| rotated(spec, FaultEdit::Question(QuestionEdit::PositionsRunAhead))),
    )
    .shown_by(PIECES)
    .made_in(&["https://github.com/EricLBuehler/mistral.rs/pull/459"]),
    padding(
        "padding-attended",
        "attention to padding",
        Make::Edits(|_| asked(QuestionEdit::PaddingAttended(Runs::All))),
    )
    .shown_by("rows that are padded")
    .made_in(&["https://github.com/huggingface/transformers/pull/32522"]),
    padding(
        "padding-attended-in-cache",
        "attention to padding where keys come from a cache",
        Make::Edits(|_| asked(QuestionEdit::PaddingAttended(Runs::Cached))),
    )
    .shown_by("rows that are padded, through the cache"),
    padding(
        "padding-counted",
        "positions that count padding on the left",
        Make::Edits(|_| asked(QuestionEdit::PaddingCounted)),
    )
    .shown_by(LEFT)
    .made_in(&["https://github.com/huggingface/transformers/issues/22161"]),
];

fn asked(edit: QuestionEdit) -> Vec<FaultEdit> {
    vec![FaultEdit::Question(edit)]
}
