//! From answers to a verdict: what every benchmark that compares with a reference has in common.
//!
//! A [`Comparison`] measures values against the truth and its floors, [`Findings`] gathers what came of it in execution
//! order, and [`Findings::verdict`] puts the first divergence into words, with the component at fault.

mod at_fault;
mod comparison;
mod explain;
mod findings;
mod forward;
mod least_squares;
mod norm_fit;
mod parts;
mod pattern;
mod readers;
mod requests;
mod wording;

pub use at_fault::AtFault;
pub use comparison::{Comparison, Outcome, worst};
pub use explain::explain;
pub use findings::{Findings, Pass, describe};
pub use forward::{Forward, judge_forward, plan_forward};
pub use parts::in_parts;
pub use requests::{
    answer_of, applicable, ask_both, askable, in_representative_block, richest, stimulus, truth_of,
    wrong_count,
};
pub use wording::{evaluation_text, quantity_text, ratio_text, tolerance_text, with_blindness};
