//! Comparison maths: how far two tensors are apart, and what that means.
//!
//! The verdict is the *error ratio*: the RMS difference from the truth over the reference's own rounding error. All
//! other figures are reported, and never gated on alone.

mod close;
mod difference;
mod floor;
mod logits;
mod region;

pub use close::{Closeness, Tolerance, allclose};
pub use difference::{CompareError, Difference, compare};
pub use floor::{Floor, Gate, STORAGE_ROUNDING, error_ratio};
pub use logits::{LogitAgreement, agreement, log_softmax};
pub use region::{Axes, Region};
