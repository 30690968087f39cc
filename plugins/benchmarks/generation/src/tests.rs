//! The verdicts on answers that are made up.

mod batched;
mod cached;
mod greedy;
mod model;
mod repeated;
