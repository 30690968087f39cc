//! The value of a number at which something is least.

use tlbench_sdk::Values;

/// How many values are looked at first, from the least to the largest.
const COARSE: usize = 25;
/// How often the place of the least is narrowed down.
const STEPS: usize = 40;

/// Searches `values` for the one at which `of` is at most `enough`, or else as small as it gets; around `found` as well, since
/// what is a little off is nearer than any other value that is tried. Nothing, if it does not depend on the number.
pub(super) fn least(
    values: Values,
    found: Option<f64>,
    enough: f64,
    mut of: impl FnMut(f64) -> Option<f64>,
) -> Option<f64> {
    match values {
        Values::Whole { from, to } => {
            let all = (from..=to).map(|value| value as f64);
            let rated = all.filter_map(|value| Some((of(value)?, value)));
            let best = rated.min_by(|a, b| a.0.total_cmp(&b.0));
            best.filter(|(rating, _)| *rating <= enough)
                .map(|(_, value)| value)
        }
        Values::Positive { from, to } => {
            let mut of = |log: f64| of(log.exp()).unwrap_or(f64::INFINITY);
            let (from, to) = (from.ln(), to.ln());
            let step = (to - from) / (COARSE - 1) as f64;
            // What does not answer to the ends does not depend on the number.
            let ends = [of(from), of(to)];
            if ends[0] == ends[1] {
                return None;
            }
            let found = found.filter(|found| *found > 0.0).map(f64::ln);
            let coarse = (0..COARSE).map(|index| from + index as f64 * step);
            let rated = coarse.chain(found).map(|log| (of(log), log));
            let (_, best) = rated.min_by(|a, b| a.0.total_cmp(&b.0))?;
            Some(golden(best - step, best + step, enough, &mut of).exp())
        }
    }
}

/// Golden section: where a function with one valley is least between `low` and `high`.
fn golden(mut low: f64, mut high: f64, enough: f64, of: &mut impl FnMut(f64) -> f64) -> f64 {
    let part = (5.0_f64.sqrt() - 1.0) / 2.0;
    let inner = |low: f64, high: f64| [high - part * (high - low), low + part * (high - low)];
    let [mut a, mut b] = inner(low, high);
    let [mut at_a, mut at_b] = [of(a), of(b)];
    for _ in 0..STEPS {
        if at_a.min(at_b) <= enough {
            break;
        }
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = inner(low, high)[0];
            at_a = of(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = inner(low, high)[1];
            at_b = of(b);
        }
    }
    if at_a < at_b { a } else { b }
}

/// `value` with as many digits, for each count of them that is worth a try, the fewest first; itself last.
pub(super) fn rounded(value: f64) -> Vec<f64> {
    let mut list: Vec<f64> = (0..5)
        .filter_map(|digits| format!("{value:.digits$e}").parse().ok())
        .collect();
    list.push(value);
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPS: Values = Values::Positive {
        from: 1e-13,
        to: 0.1,
    };

    #[test]
    fn a_number_is_rounded_to_few_digits_before_many() {
        assert_eq!(rounded(3.0004e-6)[..2], [3e-6, 3e-6]);
        assert_eq!(rounded(8_999.97)[0], 9_000.0);
    }

    #[test]
    fn what_does_not_depend_on_a_number_is_left_alone() {
        let mut asked = 0;
        let found = least(EPS, Some(1e-5), 1.0, |_| {
            asked += 1;
            Some(50.0)
        });
        assert_eq!((found, asked), (None, 2));
    }

    #[test]
    fn a_whole_number_is_found_or_nothing_is() {
        let values = Values::Whole { from: 0, to: 64 };
        let off = |wanted: f64| move |value: f64| Some(10.0 * (value - wanted).abs());
        assert_eq!(least(values, None, 1.0, off(5.0)), Some(5.0));
        assert_eq!(least(values, None, 1.0, off(5.5)), None);
    }

    proptest! {
        #[test]
        fn a_valley_is_found_wherever_it_is(log in -12.0_f64..-1.5) {
            let wanted = 10_f64.powf(log);
            let of = |value: f64| Some(1e6 * (value / wanted).ln().abs());
            let found = least(EPS, None, 1.0, of).unwrap();
            prop_assert!((found / wanted).ln().abs() <= 1e-6);
        }
    }
}
