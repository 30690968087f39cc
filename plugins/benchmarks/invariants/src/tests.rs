//! A model that is right, and models that break one invariant each.

mod invariants;
mod model;
mod planning;
