//! Options about mistakes that are put into a model.

use clap::Args;
use globset::Glob;
use tlbench::config::Sensitivity;

/// For any run.
#[derive(Args)]
pub(super) struct SensitivityOptions {
    /// Puts mistakes into each model as well, and tells which the suite notices
    #[arg(long)]
    sensitivity: bool,
    /// The share of mistakes that has to be noticed, from 0 to 1; with fewer the run fails
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    min_sensitivity: Option<f64>,
}

/// For the command that is about nothing else.
#[derive(Args)]
pub(super) struct FaultOptions {
    /// Only these mistakes: an id as `tlbench list` has it, or a glob; may be given more than once
    #[arg(long = "fault", value_name = "GLOB", value_parser = |glob: &str| Glob::new(glob))]
    faults: Vec<Glob>,
    /// Makes every check of every mistake, and not only up to the first that notices it
    #[arg(long)]
    complete: bool,
    /// Diagnoses each mistake that is noticed, numbers that no other model has among them, and tells how many are found
    /// where they are and named
    #[arg(long)]
    diagnose: bool,
    /// How many random inputs, in runs of every kind, are tried for a mistake that moves nothing on the suite's own
    #[arg(long, value_name = "COUNT", default_value_t = Sensitivity::default().random_inputs)]
    random_inputs: usize,
    /// The share of mistakes that has to be noticed, from 0 to 1; with fewer the command fails
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    min_sensitivity: Option<f64>,
}

impl SensitivityOptions {
    pub(super) fn settings(&self) -> Option<Sensitivity> {
        let asked = self.sensitivity || self.min_sensitivity.is_some();
        asked.then(|| Sensitivity {
            minimum: self.min_sensitivity,
            ..Sensitivity::default()
        })
    }
}

impl FaultOptions {
    pub(super) fn settings(&self) -> Sensitivity {
        Sensitivity {
            faults: self.faults.clone(),
            complete: self.complete,
            minimum: self.min_sensitivity,
            diagnose: self.diagnose,
            random_inputs: self.random_inputs,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
