//! Verdicts on a small model whose weights are made up, and processed by hand.

mod by_hand;
mod edits;
mod faults;
mod model;
mod planning;
