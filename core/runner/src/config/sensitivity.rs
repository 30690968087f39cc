//! How the suite itself is put on trial.

use globset::Glob;
use tlbench_sdk::{Fault, Purpose};

/// Random inputs on which a mistake may show that the suite's own do not.
const RANDOM_INPUTS: usize = 100;

/// How the suite itself is put on trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Which mistakes are made, by their ids; empty: all that what is asked for is scored by.
    pub faults: Vec<Glob>,
    /// Whether every check is made of every mistake, and not only up to the first that is red.
    pub complete: bool,
    /// The share of mistakes that has to be caught; with fewer the run fails.
    pub minimum: Option<f64>,
    /// Whether it is told where each mistake that a spec can say was found, and what it was taken for.
    pub diagnose: bool,
    /// How many random inputs are tried for a mistake that moves nothing on the suite's own.
    pub random_inputs: usize,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            complete: false,
            minimum: None,
            diagnose: false,
            random_inputs: RANDOM_INPUTS,
        }
    }
}

impl Sensitivity {
    /// Whether `fault` is made: one that is named always is.
    pub fn chooses(&self, fault: &Fault) -> bool {
        if self.faults.is_empty() {
            return match fault.purpose {
                Purpose::Suite => true,
                Purpose::Diagnosis => self.diagnose,
            };
        }
        let mut globs = self.faults.iter();
        globs.any(|glob| glob.compile_matcher().is_match(&fault.id))
    }
}
