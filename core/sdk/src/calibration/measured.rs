//! How large the rounding error of a healthy f32 implementation is.

use std::collections::BTreeMap;

use super::Values;
use crate::compare::{Axes, Floor, Region, compare};
use crate::hooks::HookPoint;
use crate::tensor::DType;
use crate::trace::Quantity;

/// What was measured of one quantity on one input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// Of the truth.
    rms: f64,
    cumulative: f64,
    /// With every hook before it set to the truth.
    local: Option<f64>,
}

/// What was measured on one input.
pub(super) type Measurements = BTreeMap<Quantity, Measured>;

/// Whether errors add up in what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Cumulative,
    Local,
}

/// Takes the errors of `values` into `measurements`, of which the largest counts.
pub(super) fn measure(
    measurements: &mut Measurements,
    pass: Pass,
    values: &Values,
    truth: &Values,
    hooks: &[HookPoint],
    region: &Region,
) {
    for (quantity, truth) in truth {
        let (Some(value), Some(axes)) = (values.get(quantity), Axes::of(quantity, hooks)) else {
            continue;
        };
        if value.dtype() == DType::I64 {
            continue;
        }
        // What has no element that counts has no error.
        let Ok(difference) = compare(value, truth, axes, region) else {
            continue;
        };
        let measured = measurements.entry(quantity.clone()).or_default();
        measured.rms = difference.truth_rms;
        match pass {
            Pass::Cumulative => measured.cumulative = measured.cumulative.max(difference.rms),
            Pass::Local => {
                let so_far = measured.local.unwrap_or(0.0);
                measured.local = Some(so_far.max(difference.rms));
            }
        }
    }
}

/// The floor of what was `measured`: its own error, what rounding once costs, or the relative error on the longest
/// input, whichever is largest. On few tokens the error by itself scatters.
pub(super) fn floor(measured: Measured, on_longest: Option<&Measured>) -> Floor {
    let least = |own: f64, on_longest: Option<f64>| {
        let once = DType::F32.roundoff() * measured.rms;
        let relative = on_longest.unwrap_or(0.0) * measured.rms;
        own.max(once).max(relative)
    };
    let relative = |error: fn(&Measured) -> Option<f64>| {
        let longest = on_longest.filter(|longest| longest.rms > 0.0)?;
        Some(error(longest)? / longest.rms)
    };
    Floor {
        cumulative: least(measured.cumulative, relative(|one| Some(one.cumulative))),
        local: measured
            .local
            .map(|own| least(own, relative(|one| one.local))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDOFF: f64 = DType::F32.roundoff();

    fn measured(rms: f64, cumulative: f64, local: Option<f64>) -> Measured {
        Measured {
            rms,
            cumulative,
            local,
        }
    }

    #[test]
    fn the_largest_of_three_is_the_floor() {
        let longest = measured(4.0, 12e-7, Some(4e-7));
        let own = floor(measured(2.0, 8e-7, Some(5e-7)), Some(&longest));
        assert_eq!((own.cumulative, own.local), (8e-7, Some(5e-7)));
        let relative = floor(measured(2.0, 0.0, Some(0.0)), Some(&longest));
        assert_eq!((relative.cumulative, relative.local), (6e-7, Some(2e-7)));
        let once = floor(measured(2.0, 0.0, None), None);
        assert_eq!((once.cumulative, once.local), (2.0 * ROUNDOFF, None));
    }

    #[test]
    fn a_truth_of_zero_has_its_absolute_error_and_tells_nothing_about_others() {
        let longest = measured(0.0, 1e-3, None);
        assert_eq!(
            floor(measured(1.0, 1e-6, None), Some(&longest)).cumulative,
            1e-6
        );
        assert_eq!(floor(measured(0.0, 3e-16, None), None).cumulative, 3e-16);
    }
}
