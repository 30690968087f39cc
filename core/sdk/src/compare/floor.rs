//! What a difference means: the error ratio and its gates.

use serde::{Deserialize, Serialize};

use super::difference::Difference;
use crate::result::Severity;
use crate::tensor::DType;
use crate::trace::Evaluation;

/// The relative error of a value that was stored rounded to f32: half a unit in the last place.
pub const STORAGE_ROUNDING: f64 = DType::F32.roundoff();

/// The RMS rounding error of a healthy implementation in the precision on trial, as the reference measured it on itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// With errors adding up from the input on.
    pub cumulative: f64,
    /// With every recorded hook before it set to the truth; absent where that makes no sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<f64>,
}

impl Floor {
    /// The floor for a subject that runs in `dtype`.
    ///
    /// An f64 subject is held to what storing the truth in f32 costs, or to a thousandth of the f32 floor where the
    /// truth is 0. Locally it starts from values that are rounded to f32, so the f32 floor stands.
    pub fn at(self, evaluation: Evaluation, dtype: DType, truth_rms: f64) -> Option<f64> {
        match (evaluation, dtype) {
            (Evaluation::Cumulative, DType::F64) => {
                Some((STORAGE_ROUNDING * truth_rms).max(1e-3 * self.cumulative))
            }
            (Evaluation::Cumulative, _) => Some(self.cumulative),
            (Evaluation::Local, _) => self.local,
        }
    }
}

/// `rms / floor`: 0.5 to 2 for healthy implementations, 10 to 10^6 for real faults at their own hook.
///
/// Two exact zeros agree whatever the floor; NaN or infinity on one side alone is infinitely wrong.
pub fn error_ratio(difference: &Difference, floor: f64) -> f64 {
    if difference.mismatched > 0 {
        f64::INFINITY
    } else if difference.rms == 0.0 {
        0.0
    } else if floor > 0.0 {
        difference.rms / floor
    } else {
        f64::INFINITY
    }
}

/// From which error ratio on a difference is worth a word, and from which it is a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Up to here: INFO.
    pub info: f64,
    /// Up to here: WARNING. Above: DANGER.
    pub warning: f64,
}

impl Gate {
    /// The gate for a tensor of `rows` positions. An RMS over few rows scatters more, so the first bound is wider
    /// there; 30,882 healthy comparisons of 1 to 8 tokens had their worst at 3.2.
    pub fn for_rows(rows: usize) -> Self {
        Self {
            info: if rows < 8 { 5.0 } else { 3.0 },
            warning: 10.0,
        }
    }

    /// The severity of `ratio`; NaN is a failure.
    pub fn severity(self, ratio: f64) -> Severity {
        if ratio <= self.info {
            Severity::Info
        } else if ratio <= self.warning {
            Severity::Warning
        } else {
            Severity::Danger
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(rms: f64, mismatched: usize) -> Difference {
        Difference {
            rms,
            truth_rms: 1.0,
            max_abs: rms,
            relative_l2: rms,
            cosine: 1.0,
            rows: 9,
            elements: 9,
            mismatched,
            worst: None,
            by_position: Vec::new(),
        }
    }

    #[test]
    fn the_ratio() {
        assert_eq!(error_ratio(&difference(3.0, 0), 1.5), 2.0);
        assert_eq!(error_ratio(&difference(0.0, 0), 0.0), 0.0);
        assert_eq!(error_ratio(&difference(1e-30, 0), 0.0), f64::INFINITY);
        assert_eq!(error_ratio(&difference(0.0, 1), 1.0), f64::INFINITY);
    }

    #[test]
    fn the_gates() {
        let severities = |rows| {
            [3.0, 4.9, 5.1, 10.0, 10.1, f64::NAN].map(|ratio| Gate::for_rows(rows).severity(ratio))
        };
        use Severity::{Danger, Info, Warning};
        assert_eq!(
            severities(8),
            [Info, Warning, Warning, Warning, Danger, Danger]
        );
        assert_eq!(
            severities(7),
            [Info, Info, Warning, Warning, Danger, Danger]
        );
    }

    #[test]
    fn f64_is_held_to_storage_rounding() {
        let floor = Floor {
            cumulative: 1e-6,
            local: Some(2e-7),
        };
        assert_eq!(
            floor.at(Evaluation::Cumulative, DType::F32, 2.0),
            Some(1e-6)
        );
        assert_eq!(
            floor.at(Evaluation::Cumulative, DType::F64, 2.0),
            Some(2.0 * STORAGE_ROUNDING)
        );
        assert_eq!(
            floor.at(Evaluation::Cumulative, DType::F64, 0.0),
            Some(1e-9)
        );
        assert_eq!(floor.at(Evaluation::Local, DType::F64, 2.0), Some(2e-7));
    }
}
