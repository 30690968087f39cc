//! All mistakes, by what they are about.

pub(crate) mod attention;
mod cache;
mod ends;
mod gradients;
mod mlp;
mod norm;
mod odd;
mod processing;
mod rotary;

use crate::zoo::Entry;

/// All mistakes, feature by feature.
pub(crate) const CATALOGUE: &[&[Entry]] = &[
    rotary::FAULTS,
    attention::FAULTS,
    norm::FAULTS,
    mlp::FAULTS,
    ends::FAULTS,
    odd::FAULTS,
    cache::FAULTS,
    processing::FAULTS,
    gradients::FAULTS,
];
