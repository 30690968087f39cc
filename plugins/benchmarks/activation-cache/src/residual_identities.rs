//! What adds up, whatever the reference.

use std::collections::BTreeSet;

use tlbench_sdk::compare::Region;
use tlbench_sdk::judge::{explain, ratio_text, with_blindness, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Divergence, Judgement, Measurement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Severity, Trace, TraceRequest, Verdict,
};

use crate::identities::{Claim, Identities, Identity};
use crate::inputs::inputs;
use crate::judged::{Judged, Run};
use crate::values::Visible;
use crate::{EXPLAINED, MODULE};

pub(crate) struct ResidualIdentities;

impl Benchmark for ResidualIdentities {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "residual_identities",
            MODULE,
            "what is added up along the stream, in a head and in a norm adds up",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        let identities = Identities::of(&model.spec, &model.processing);
        let capture = needed(&identities.list);
        if capture.is_empty() {
            return Err(PluginError::unsupported(
                "the spec lets nothing be added up",
            ));
        }
        let check = |stimulus: &tlbench_sdk::Stimulus| Check {
            variant: stimulus.id.clone(),
            requests: vec![PlannedRequest::subject(TraceRequest {
                capture: capture.clone(),
                ..stimulus.request.clone()
            })],
        };
        Ok(inputs(model)?.into_iter().map(check).collect())
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let ([planned], [answer]) = (&check.requests[..], answers) else {
            return Err(wrong_count(answers));
        };
        let mask = planned.request.inputs.get(ATTENTION_MASK);
        let region = mask.and_then(Region::new);
        let region =
            region.ok_or_else(|| PluginError::internal("a question without an attention mask"))?;
        let visible = Visible::new(&model.spec, &region);
        let run = Run {
            answer,
            hooks: &model.hooks,
            visible: &visible,
            dtype: model.dtype,
        };
        let identities = Identities::of(&model.spec, &model.processing);
        let judged = identities
            .list
            .iter()
            .map(|identity| Ok((identity, run.judge(identity)?)))
            .collect::<Result<Vec<_>, PluginError>>()?;
        let mut verdict = verdict(model, judged);
        for left_out in identities.left_out {
            verdict = verdict.detail(format!("left out: {}", left_out.what), left_out.why);
        }
        Ok(Judgement::Verdict(verdict))
    }
}

/// What has to be looked at.
fn needed(identities: &[Identity]) -> Vec<Quantity> {
    let mut needed = BTreeSet::new();
    for Identity { hook, claim } in identities {
        needed.insert(Quantity::hook(hook));
        match claim {
            Claim::Sum(summands) => needed.extend(summands.iter().map(|s| Quantity::hook(&s.hook))),
            Claim::RowsSumToOne => {}
            Claim::Heads { heads, bias, .. } => {
                needed.insert(Quantity::hook(heads));
                needed.extend(bias.clone().map(Quantity::Weight));
            }
            Claim::Normalized { scale, input, .. } => {
                needed.extend([scale, input].map(Quantity::hook));
            }
            Claim::Finished {
                normalized,
                gain,
                bias,
            } => {
                needed.insert(Quantity::hook(normalized));
                needed.extend(gain.iter().chain(bias).cloned().map(Quantity::Weight));
            }
        }
    }
    needed.into_iter().collect()
}

fn verdict(model: &ModelInfo, judged: Vec<(&Identity, Judged)>) -> Verdict {
    let count = judged.len();
    let mut measurements: Vec<(&Identity, Measurement)> = Vec::new();
    let mut failures: Vec<(&Identity, Divergence)> = Vec::new();
    for (identity, judged) in judged {
        match judged {
            Judged::Broken(divergence) => failures.push((identity, divergence)),
            Judged::Measured(measurement) => {
                if measurement.severity == Severity::Danger {
                    failures.push((identity, divergence_of(identity, &measurement)));
                }
                measurements.push((identity, measurement));
            }
        }
    }
    let worst = measurements
        .iter()
        .max_by(|a, b| a.1.ratio.total_cmp(&b.1.ratio));
    let mut verdict = match (failures.first(), worst) {
        (Some((identity, divergence)), _) => {
            let message = format!("{} does not hold: {}", identity, divergence.reason);
            let wrong: Vec<String> = failures
                .iter()
                .map(|(wrong, _)| wrong.to_string())
                .collect();
            let verdict = Verdict::new(Severity::Danger, message).detail(
                "wrong",
                format!("{} of {count}: {}", wrong.len(), wrong.join("; ")),
            );
            let mut verdict = explain(verdict, model, divergence);
            verdict.first_divergence = Some(divergence.clone());
            verdict
        }
        (None, Some((identity, worst))) => {
            let ratio = ratio_text(worst.ratio);
            let message =
                format!("{count} identities hold; worst error ratio {ratio} ({identity})");
            let severity = tlbench_sdk::judge::worst(measurements.iter().map(|(_, m)| m));
            Verdict::new(severity, with_blindness(message, model, Some(worst)))
        }
        (None, None) => Verdict::new(Severity::Danger, "no identity was looked at"),
    };
    verdict.measurements = measurements.into_iter().map(|(_, m)| m).collect();
    verdict
}

fn divergence_of(identity: &Identity, measurement: &Measurement) -> Divergence {
    let Measurement {
        ratio,
        difference,
        floor,
        ..
    } = measurement;
    let at = difference
        .worst
        .as_ref()
        .map(|place| format!(" at {place:?}"));
    let reason = format!(
        "error ratio {}: off by {:.2e} (rms, floor {floor:.2e}), most{}",
        ratio_text(*ratio),
        difference.rms,
        at.unwrap_or_default()
    );
    Divergence {
        quantity: Quantity::hook(&identity.hook),
        evaluation: measurement.evaluation,
        ratio: *ratio,
        reason,
    }
}
