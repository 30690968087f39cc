//! Verdicts that contradict themselves, and verdicts that paint.

use tlbench_sdk::compare::Difference;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Divergence, Evaluation, Judgement, Measurement, ModelInfo,
    PluginError, Quantity, Severity, Trace, Verdict,
};

use crate::plans::{first, info, logits};

/// Passes, whatever it measured.
pub(crate) struct Contradicting;

impl Benchmark for Contradicting {
    fn info(&self) -> BenchmarkInfo {
        info("contradicts")
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let requests = logits(first(model)?);
        let check = |variant: &str| Check {
            variant: variant.into(),
            requests: requests.clone(),
        };
        let variants = [
            "nan",
            "danger",
            "unasked_hook",
            "divergence",
            "unasked_divergence",
        ];
        Ok(variants.map(check).into())
    }

    fn judge(&self, _: &ModelInfo, check: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        let mut verdict = Verdict::new(Severity::Info, "all is well");
        let (logits, nowhere) = (Quantity::Logits, Quantity::hook("hook_nowhere"));
        match check.variant.as_str() {
            "nan" => verdict.measurements = vec![measured(logits, f64::NAN, Severity::Info)],
            "danger" => verdict.measurements = vec![measured(logits, 1e6, Severity::Danger)],
            "unasked_hook" => verdict.measurements = vec![measured(nowhere, 1.0, Severity::Info)],
            "divergence" => verdict.first_divergence = Some(divergence(logits)),
            _ => {
                verdict.severity = Severity::Danger;
                verdict.first_divergence = Some(divergence(nowhere));
            }
        }
        Ok(Judgement::Verdict(verdict))
    }
}

fn measured(quantity: Quantity, ratio: f64, severity: Severity) -> Measurement {
    Measurement {
        quantity,
        evaluation: Evaluation::Cumulative,
        ratio,
        floor: 1.0,
        severity,
        difference: Difference {
            rms: ratio,
            truth_rms: 1.0,
            max_abs: ratio,
            relative_l2: ratio,
            cosine: 1.0,
            rows: 1,
            elements: 1,
            mismatched: 0,
            worst: None,
            by_position: Vec::new(),
        },
        closeness: None,
        pattern: Vec::new(),
    }
}

fn divergence(quantity: Quantity) -> Divergence {
    Divergence {
        quantity,
        evaluation: Evaluation::Local,
        ratio: 1e6,
        reason: "it says so".into(),
    }
}

/// Fails, with texts that would turn the report into another.
pub(crate) struct Painting;

impl Benchmark for Painting {
    fn info(&self) -> BenchmarkInfo {
        info("paints")
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Ok(vec![Check {
            variant: "only".into(),
            requests: logits(first(model)?),
        }])
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        let message = "\u{1b}[2J\u{1b}[H\r🟢 [PASS] paints/only: fine\nPassed: 14 (100.0%)";
        let mut verdict = Verdict::new(Severity::Danger, message)
            .detail(
                "a\nname",
                "two\nlines, one \u{1b}[32mgreen\u{1b}[0m\rand \u{202e}turned",
            )
            .detail("long", "x".repeat(10_000));
        verdict.first_divergence = Some(Divergence {
            reason: "\n================\npassed in 0.00 s".into(),
            ..divergence(Quantity::Logits)
        });
        Ok(Judgement::Verdict(verdict))
    }
}
