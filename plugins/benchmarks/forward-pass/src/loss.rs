//! The loss of every next token.

use tlbench_sdk::compare::{Gate, Region, Tolerance};
use tlbench_sdk::judge::{
    Comparison, Outcome, applicable, ask_both, ratio_text, stimulus, truth_of, with_blindness,
    wrong_count,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Judging, Measurement, ModelInfo, PluginError,
    Quantity, Severity, Stimulus, Tensor, Trace, Verdict,
};

use crate::tolerance::{options, tolerance};
use crate::{EXPLAINED, MODULE};

/// The tolerance for scalars in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 1e-3,
    rtol: 0.0,
};

pub(crate) struct LossEquivalence;

impl Benchmark for LossEquivalence {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "loss_equivalence",
            MODULE,
            "the loss of every next token equals the reference's, and so does their mean",
        )
        .explained(EXPLAINED)
        .taking(options(TOLERANCE))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        tolerance(model, TOLERANCE)?;
        let check = |stimulus| ask_both(stimulus, vec![Quantity::LossPerToken, Quantity::Loss]);
        let with_loss = model.stimuli.iter().filter(|stimulus| has_loss(stimulus));
        applicable(with_loss.map(check).collect(), "the loss of a next token")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [truth, subject] = answers else {
            return Err(wrong_count(answers));
        };
        let tolerance = tolerance(model, TOLERANCE)?;
        let request = &stimulus(model, check)?.request;
        let comparison = Comparison::new(model, request, truth)?;
        let quantity = Quantity::LossPerToken;
        let expected = truth_of(truth, &quantity)?;
        let measurement = match comparison.measure_with_tolerance(
            &quantity,
            subject.value(&quantity),
            expected,
            tolerance,
        )? {
            Outcome::Measured(measurement) => measurement,
            Outcome::Broken(divergence) => {
                let message = format!("loss_per_token: {}", divergence.reason);
                return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
            }
        };
        let (loss, true_loss) = (
            scalar(subject.value(&Quantity::Loss)),
            scalar(truth.value(&Quantity::Loss)),
        );
        // The mean can hide what its summands show, so it is judged by them: they have to be right, and it their mean.
        let summands = subject.value(&quantity);
        let own_mean = summands.map_or(f64::NAN, |losses| mean(losses, comparison.region()));
        let is_mean = is_mean(loss, own_mean, &measurement);
        let severity = match model.judging {
            Judging::Calibrated if !is_mean => Severity::Danger,
            Judging::Calibrated => measurement.severity,
            Judging::Tolerance
                if (loss - true_loss).abs()
                    <= tolerance.atol + tolerance.rtol * true_loss.abs() =>
            {
                Severity::Info
            }
            Judging::Tolerance => Severity::Danger,
        };
        let mut message = format!(
            "{loss:.6} for {true_loss:.6}; error ratio per token {}",
            ratio_text(measurement.ratio)
        );
        if !is_mean {
            message = format!("{message}; the mean of the subject's own losses is {own_mean:.6}");
        }
        let message = with_blindness(message, model, Some(&measurement));
        let mut verdict = Verdict::new(severity, message)
            .detail(
                "difference of the means",
                format!(
                    "{:.2e} (tolerance {:e})",
                    (loss - true_loss).abs(),
                    tolerance.atol
                ),
            )
            .detail(
                "largest difference of a token",
                format!("{:.2e}", measurement.difference.max_abs),
            )
            .detail("tokens", measurement.difference.rows.to_string());
        verdict.measurements = vec![measurement];
        Ok(Judgement::Verdict(verdict))
    }
}

/// A loss needs two tokens, and a reference that tells it.
fn has_loss(stimulus: &Stimulus) -> bool {
    let [_, pos] = stimulus.request.shape();
    pos > 1
        && stimulus.request.is_plain()
        && [Quantity::LossPerToken, Quantity::Loss]
            .iter()
            .all(|quantity| stimulus.shows(quantity))
}

/// The mean over all pairs of tokens that are not padding; NaN if there is none.
fn mean(losses: &Tensor, region: &Region) -> f64 {
    let &[_, pairs] = losses.shape() else {
        return f64::NAN;
    };
    let values = losses.to_f64_vec().into_iter().enumerate();
    let counted = values.filter(|(at, _)| {
        let (row, pos) = (at / pairs, at % pairs);
        region.is_real(row, pos) && region.is_real(row, pos + 1)
    });
    let (count, sum) = counted.fold((0_u32, 0.0), |(count, sum), (_, loss)| {
        (count + 1, sum + loss)
    });
    sum / f64::from(count)
}

/// Whether `loss` is `own_mean`, up to what passes as rounding in one of the summands.
fn is_mean(loss: f64, own_mean: f64, summands: &Measurement) -> bool {
    let gate = Gate::for_rows(summands.difference.rows).warning * summands.floor;
    let has_pairs = summands.difference.rows > 0;
    !has_pairs || (loss - own_mean).abs() <= gate
}

fn scalar(tensor: Option<&Tensor>) -> f64 {
    tensor
        .and_then(|tensor| tensor.to_f64_vec().first().copied())
        .unwrap_or(f64::NAN)
}
