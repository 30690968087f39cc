//! From measured errors to floors.
//!
//! The error on one short input scatters: on 30,882 comparisons over 1 to 8 tokens a healthy implementation came
//! out as much as 181 times worse than a single f32 run of the reference, and at most 3.2 times worse than the floor here.

use std::collections::BTreeMap;

use serde::Deserialize;
use tlbench_sdk::Quantity;
use tlbench_sdk::compare::Floor;

/// What the worker measured of one quantity on one input.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    /// Of the truth.
    pub(crate) rms: f64,
    /// How many positions count.
    pub(crate) rows: usize,
    /// The RMS error of the worst variant.
    pub(crate) cumulative: f64,
    /// The same with every wanted hook before it set to the truth, if that was measured.
    pub(crate) local: Option<f64>,
}

/// What the worker measured on one input.
pub(crate) type Measurements = BTreeMap<Quantity, Measured>;

/// The floor of `quantity` on the input that `measured` is about: its own error, what rounding once costs, or the
/// relative error on the longest input of `all`, which are alike in all but the input, whichever is largest. `roundoff` is that of the precision.
pub(crate) fn pooled(
    quantity: &Quantity,
    measured: &Measured,
    all: &[&Measurements],
    roundoff: f64,
) -> Floor {
    // From the back, as the last of several maxima is taken: of two equally long inputs the first.
    let on_longest = |part: fn(&Measured) -> Option<f64>| {
        let relative = all
            .iter()
            .rev()
            .filter_map(|one| relative(one.get(quantity)?, part));
        relative
            .max_by_key(|&(rows, _)| rows)
            .map_or(0.0, |(_, error)| error)
    };
    let floor = |own: f64, relative: f64| {
        own.max(roundoff * measured.rms)
            .max(relative * measured.rms)
    };
    Floor {
        cumulative: floor(measured.cumulative, on_longest(|one| Some(one.cumulative))),
        local: measured
            .local
            .map(|own| floor(own, on_longest(|one| one.local))),
    }
}

/// How long the input is, and how large the error relative to the truth; nothing where the truth is 0.
fn relative(measured: &Measured, part: fn(&Measured) -> Option<f64>) -> Option<(usize, f64)> {
    let error = part(measured)?;
    (measured.rms > 0.0).then(|| (measured.rows, error / measured.rms))
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::DType;

    use super::*;

    const ROUNDOFF: f64 = DType::F32.roundoff();

    fn measured(rms: f64, rows: usize, cumulative: f64, local: Option<f64>) -> Measured {
        Measured {
            rms,
            rows,
            cumulative,
            local,
        }
    }

    /// The floor of the first of several measurements.
    fn floor(all: &[Measured]) -> Floor {
        let all: Vec<Measurements> = all
            .iter()
            .map(|&measured| BTreeMap::from([(Quantity::Logits, measured)]))
            .collect();
        let all: Vec<&Measurements> = all.iter().collect();
        pooled(
            &Quantity::Logits,
            &all[0][&Quantity::Logits],
            &all,
            ROUNDOFF,
        )
    }

    #[test]
    fn its_own_error_when_that_is_largest() {
        let floor = floor(&[
            measured(2.0, 1, 8e-7, Some(5e-7)),
            measured(1.0, 40, 2e-7, Some(1e-7)),
        ]);
        assert_eq!(
            floor,
            Floor {
                cumulative: 8e-7,
                local: Some(5e-7)
            }
        );
    }

    #[test]
    fn rounding_once_is_the_least() {
        let floor = floor(&[measured(2.0, 1, 0.0, Some(0.0))]);
        assert_eq!(
            floor,
            Floor {
                cumulative: 2.0 * ROUNDOFF,
                local: Some(2.0 * ROUNDOFF)
            }
        );
    }

    #[test]
    fn the_relative_error_of_the_longest_input() {
        let floor = floor(&[
            measured(2.0, 1, 0.0, Some(0.0)),
            measured(4.0, 40, 12e-7, Some(4e-7)),
            measured(1.0, 20, 9e-7, Some(9e-7)),
        ]);
        assert_eq!(
            floor,
            Floor {
                cumulative: 6e-7,
                local: Some(2e-7)
            }
        );
    }

    #[test]
    fn the_longest_input_on_which_it_was_measured_locally() {
        let floor = floor(&[
            measured(2.0, 1, 0.0, Some(0.0)),
            measured(4.0, 40, 4e-7, None),
            measured(1.0, 20, 0.0, Some(3e-7)),
        ]);
        assert_eq!(floor.local, Some(6e-7));
    }

    #[test]
    fn no_local_floor_where_none_was_measured() {
        assert_eq!(
            floor(&[
                measured(2.0, 1, 1e-6, None),
                measured(4.0, 40, 4e-7, Some(1e-7))
            ])
            .local,
            None
        );
    }

    #[test]
    fn a_truth_of_zero_has_its_absolute_error_and_tells_nothing_about_others() {
        assert_eq!(
            floor(&[measured(0.0, 5, 3e-16, None), measured(1.0, 9, 1e-7, None)]).cumulative,
            3e-16
        );
        assert_eq!(
            floor(&[measured(1.0, 5, 1e-6, None), measured(0.0, 9, 1e-3, None)]).cumulative,
            1e-6
        );
    }
}
