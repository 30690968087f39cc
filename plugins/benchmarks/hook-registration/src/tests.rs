//! The verdicts on answers that are made up.

mod effects;
mod gated;
mod model;
mod registry;
mod removed;
mod values;
