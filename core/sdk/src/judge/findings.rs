//! All comparisons of one check, and where the first of them fails.

use super::at_fault::AtFault;
use super::comparison::{Comparison, Outcome, divergence_of, worst};
use super::explain::explain_component;
use super::norm_fit::NormFit;
use super::pattern::failing_blocks;
use super::readers::Readers;
use super::truth_of;
use super::wording::{by_layer, evaluation_text, quantity_text, ratio_text, with_blindness};
use crate::benchmark::ModelInfo;
use crate::error::PluginError;
use crate::result::{Divergence, Measurement, Severity, Verdict};
use crate::trace::{Evaluation, Quantity, Trace};

/// Which way a run goes, and so which of several failures comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From the tokens to the logits.
    Forward,
    /// From the logits back.
    Backward,
}

/// All comparisons of one check.
pub struct Findings {
    measurements: Vec<Measurement>,
    broken: Vec<Divergence>,
    /// The quantities in the order in which they come about.
    order: Vec<Quantity>,
    /// What was found out about the norm that is read at the first divergence.
    norm_fit: Option<NormFit>,
}

impl Findings {
    /// Nothing found yet among `quantities`, which are listed in forward order.
    pub fn new(quantities: &[Quantity], pass: Pass) -> Self {
        let mut order = quantities.to_vec();
        if pass == Pass::Backward {
            order.reverse();
        }
        Self {
            measurements: Vec::new(),
            broken: Vec::new(),
            order,
            norm_fit: None,
        }
    }

    /// Compares each of `quantities` that the subject was asked for, cumulatively.
    ///
    /// # Errors
    /// If the reference left a value or a floor out.
    pub fn compare(
        &mut self,
        comparison: &Comparison<'_>,
        quantities: &[Quantity],
        truth: &Trace,
        subject: &Trace,
    ) -> Result<(), PluginError> {
        for quantity in quantities {
            let value = subject.value(quantity);
            let expected = truth_of(truth, quantity)?;
            self.push(comparison.measure(quantity, Evaluation::Cumulative, value, expected)?);
        }
        Ok(())
    }

    /// Adds what came of one comparison.
    pub fn push(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Measured(measurement) => self.measurements.push(measurement),
            Outcome::Broken(divergence) => self.broken.push(divergence),
        }
    }

    /// Every comparison that was made.
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// Every quantity that is wrong by itself: on true inputs, or missing.
    pub fn failures(&self) -> impl Iterator<Item = &Quantity> {
        let local = self
            .measurements
            .iter()
            .filter(|one| one.severity == Severity::Danger && one.evaluation == Evaluation::Local);
        let broken = self.broken.iter().map(|one| &one.quantity);
        local.map(|one| &one.quantity).chain(broken)
    }

    /// By the error ratio.
    pub fn severity(&self) -> Severity {
        if self.broken.is_empty() {
            worst(&self.measurements)
        } else {
            Severity::Danger
        }
    }

    /// The first failure in the order of the pass. A local failure is the component's own; a cumulative one may be
    /// inherited, so it counts only where no local one is found.
    pub fn first_divergence(&self) -> Option<Divergence> {
        let place = |quantity: &Quantity| self.order.iter().position(|known| known == quantity);
        let first = |evaluation: Evaluation| {
            let failed = self
                .measurements
                .iter()
                .filter(|m| m.severity == Severity::Danger && m.evaluation == evaluation);
            let measured = failed.map(divergence_of);
            // What is missing has no local measurement, and is the component's own fault.
            let broken = self
                .broken
                .iter()
                .filter(|_| evaluation == Evaluation::Local)
                .cloned();
            measured
                .chain(broken)
                .min_by_key(|divergence| place(&divergence.quantity))
        };
        first(Evaluation::Local).or_else(|| first(Evaluation::Cumulative))
    }

    /// Who is at fault at the first divergence: whoever makes the value there, or a norm whose gain and bias show nowhere but
    /// in what reads it.
    pub fn at_fault(&self, model: &ModelInfo) -> Option<AtFault> {
        let divergence = self.first_divergence()?;
        if let (Some(NormFit::Explains { worst }), Some(readers)) =
            (&self.norm_fit, self.readers(model))
        {
            let (all, ratio) = (readers.text(), ratio_text(*worst));
            let because = format!("with another gain and bias of it {all} are right ({ratio})");
            return Some(AtFault {
                part: readers.norm,
                because: Some(because),
            });
        }
        AtFault::of(model, &divergence.quantity, |hook| {
            let quantity = Quantity::hook(hook);
            let mut measured = self.measurements.iter();
            measured.any(|one| one.quantity == quantity && one.evaluation == Evaluation::Local)
        })
    }

    /// What reads the same norm as what differs first, if that is read through a weight alone.
    pub(super) fn readers(&self, model: &ModelInfo) -> Option<Readers> {
        let first = self.first_divergence()?;
        let is_own = first.evaluation == Evaluation::Local && first.ratio.is_finite();
        let hook = first.quantity.as_hook().filter(|_| is_own)?;
        Readers::at(model, &self.measurements, hook)
    }

    /// With what was found out about the norm that they read.
    pub(super) fn with_norm_fit(self, fit: NormFit) -> Self {
        Self {
            norm_fit: Some(fit),
            ..self
        }
    }

    /// What would explain the first divergence as well as a fault of the component that it is named after, if nobody could
    /// be asked for weights.
    fn suspicion(&self, model: &ModelInfo) -> Option<String> {
        let readers = self.readers(model).filter(Readers::are_all_wrong)?;
        self.norm_fit.is_none().then(|| {
            let (norm, all) = (&readers.norm, readers.text());
            format!("{norm}, as all that reads it is wrong: {all}")
        })
    }

    /// The verdict by the error ratio: the first divergence, or the worst ratios of what passed. `what` names what was
    /// compared, in the plural.
    pub fn verdict(self, model: &ModelInfo, what: &str) -> Verdict {
        let severity = self.severity();
        self.verdict_of(model, severity, what)
    }

    /// The same with a severity that was decided otherwise.
    pub fn verdict_of(self, model: &ModelInfo, severity: Severity, what: &str) -> Verdict {
        let first = self.first_divergence();
        let message = match (&first, severity) {
            (Some(divergence), Severity::Danger) => format!(
                "first divergence at {}: {}",
                quantity_text(&divergence.quantity),
                divergence.reason
            ),
            _ => with_blindness(self.summary(what), model, self.logits()),
        };
        let mut verdict = Verdict::new(severity, message);
        if let Some(divergence) = first {
            if is_inherited(&divergence) {
                verdict = verdict.detail("component", INHERITED);
            } else if let Some(at_fault) = self.at_fault(model) {
                verdict = explain_component(verdict, model, &at_fault);
            }
            if let Some(suspicion) = self.suspicion(model) {
                verdict = verdict.detail("or perhaps", suspicion);
            }
            if let Some(measurement) = self.measurement(&divergence) {
                verdict = describe(verdict, measurement);
            }
            if let Some(blocks) = failing_blocks(&model.spec, &self.measurements, &divergence) {
                verdict = verdict.detail("fails locally in", blocks);
            }
            if let Some(by_layer) = by_layer(&self.measurements) {
                verdict = verdict.detail("cumulative ratio after each block", by_layer);
            }
            verdict.first_divergence = Some(divergence);
        }
        verdict.measurements = self.measurements;
        verdict
    }

    fn measurement(&self, divergence: &Divergence) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|m| m.quantity == divergence.quantity && m.evaluation == divergence.evaluation)
    }

    fn logits(&self) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|m| m.quantity == Quantity::Logits)
    }

    /// The worst ratios of a check that passed.
    fn summary(&self, what: &str) -> String {
        let worst_of = |evaluation: Evaluation| {
            let of = self
                .measurements
                .iter()
                .filter(|m| m.evaluation == evaluation);
            of.max_by(|a, b| a.ratio.total_cmp(&b.ratio)).map(|m| {
                format!(
                    "{} {} ({})",
                    evaluation_text(evaluation),
                    ratio_text(m.ratio),
                    quantity_text(&m.quantity)
                )
            })
        };
        let worst: Vec<String> = [Evaluation::Cumulative, Evaluation::Local]
            .into_iter()
            .filter_map(worst_of)
            .collect();
        let count = self
            .measurements
            .iter()
            .filter(|m| m.evaluation == Evaluation::Cumulative)
            .count();
        let what = match count {
            1 => what.to_owned(),
            _ => format!("{count} {what}"),
        };
        format!("{what} match; worst error ratio: {}", worst.join(", "))
    }
}

/// What is said of a component where errors add up to the first divergence.
const INHERITED: &str = "any up to here: none is wrong by itself as far as the input shows";

/// Whether what is wrong may have come from any component before. On the way back the first value is its component's own.
fn is_inherited(divergence: &Divergence) -> bool {
    let is_forward = matches!(divergence.quantity, Quantity::Hook(_) | Quantity::Logits);
    is_forward && divergence.evaluation == Evaluation::Cumulative && divergence.ratio.is_finite()
}

/// Adds how far apart the two values of `measurement` are, and where.
pub fn describe(verdict: Verdict, measurement: &Measurement) -> Verdict {
    let difference = &measurement.difference;
    let at = difference
        .worst
        .as_ref()
        .map(|place| format!(" at {place:?}"))
        .unwrap_or_default();
    let verdict = verdict.detail(
        "difference",
        format!(
            "rms {:.2e} (floor {:.2e}, truth {:.2e}), relative L2 {:.2e}, largest {:.2e}{at}",
            difference.rms,
            measurement.floor,
            difference.truth_rms,
            difference.relative_l2,
            difference.max_abs
        ),
    );
    if measurement.pattern.is_empty() {
        return verdict;
    }
    verdict.detail("pattern", measurement.pattern.join("; "))
}
