//! The verdicts on answers that are made up.

mod finite_differences;
mod hooks;
mod model;
mod parameters;
