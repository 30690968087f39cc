//! Mistakes that real ports have made, for suites that are to notice them.
//!
//! Each is an edit of what a right model is, or of what is asked of it. Whether a mistake moves anything on given inputs is
//! computed by whoever runs it; here nothing is declared about that.

mod catalogue;
mod parts;
mod repairs;
mod zoo;

use crate::zoo::Zoo;

tlbench_sdk::plugin! {
    faults: [Zoo],
}
