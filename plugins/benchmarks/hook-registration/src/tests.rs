//! The verdicts on answers that are made up.

mod effects;
mod firing;
mod gated;
mod model;
mod registry;
mod removed;
mod values;
