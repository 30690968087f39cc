//! Which checks there are, in which modes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tlbench_sdk::{
    Check, Firings, Mode, ModelInfo, Parameter, PluginError, Processing, Role, Severity,
    SourceInfo, Stimulus, Verdict, check_plan, is_large,
};

use super::order::Order;
use super::{ChosenBenchmark, Session, verdict_of};
use crate::events::{BenchmarkResult, CheckId};
use crate::inputs::default_stimuli;
use crate::model::{Model, ModelError};
use crate::outcome::UNVERIFIED;
use crate::processed::ProcessedReference;
use crate::references::OpenReference;

/// A check, and what it belongs to.
pub(super) struct PlannedCheck<'a> {
    pub(super) id: CheckId,
    pub(super) chosen: &'a ChosenBenchmark<'a>,
    pub(super) info: Arc<ModelInfo>,
    pub(super) check: Check,
}

/// Weights as they are or processed, and what is asked about them.
pub(super) struct OneMode {
    pub(super) mode: Mode,
    pub(super) processing: Processing,
    pub(super) parameters: Vec<Parameter>,
    pub(super) stimuli: Vec<Stimulus>,
    /// What fires, as they tell who were opened with weights as they are.
    pub(super) firings: BTreeMap<Role, Firings>,
}

impl OneMode {
    /// Weights as they are; nobody has told what fires.
    pub(super) fn raw(model: &Model, stimuli: &[Stimulus]) -> Self {
        Self {
            mode: Mode::Raw,
            processing: Processing::raw(),
            parameters: model.parameters(&Processing::raw()),
            stimuli: stimuli.to_vec(),
            firings: BTreeMap::new(),
        }
    }
}

impl Session<'_> {
    /// Weights as they are, and, if that is wanted, with all that the spec admits done to them.
    pub(super) fn modes(
        &self,
        model: &Model,
        subject: &SourceInfo,
        reference: &OpenReference,
        processed: &ProcessedReference<'_>,
        default: &[Stimulus],
    ) -> Result<Vec<OneMode>, ModelError> {
        let raw = OneMode {
            firings: firings(subject, &reference.info),
            ..OneMode::raw(model, reference.stimuli(default))
        };
        let processing = Processing::compat(&model.spec);
        if !(self.run.compat && subject.processes_weights) || processing.is_raw() {
            return Ok(vec![raw]);
        }
        let stimuli = if reference.info.processes_weights {
            self.stimuli(model, &processing)?
        } else {
            processed.stimuli(&processing)
        };
        let compat = OneMode {
            mode: Mode::Compat,
            parameters: model.parameters(&processing),
            processing,
            stimuli,
            firings: BTreeMap::new(),
        };
        Ok(vec![raw, compat])
    }

    /// The questions to whoever answers any.
    pub(super) fn stimuli(
        &self,
        model: &Model,
        processing: &Processing,
    ) -> Result<Vec<Stimulus>, ModelError> {
        default_stimuli(model, processing, &self.entry.prompt, self.run.max_tokens)
    }

    /// What a benchmark for a mode in which the model is not judged leaves unverified.
    pub(super) fn in_no_mode(
        &self,
        reference: &OpenReference,
        modes: &[OneMode],
    ) -> Vec<BenchmarkResult> {
        let is_judged = |wanted: Mode| modes.iter().any(|mode| mode.mode == wanted);
        let left_out = self.benchmarks.iter().filter_map(|chosen| {
            let mode = chosen.benchmark.info().only_in?;
            (!is_judged(mode)).then_some((chosen, mode))
        });
        let result = |(chosen, mode): (&ChosenBenchmark<'_>, Mode)| {
            let message = format!(
                "it is about the mode {}, in which the model is not judged",
                mode.name()
            );
            let id = self.id(chosen, mode, &reference.id, "plan");
            let verdict = Verdict::new(Severity::Skipped, message);
            BenchmarkResult::new(id, reference.tier, verdict, 0.0)
        };
        left_out.map(result).collect()
    }

    /// Every check that applies, and the result of every benchmark that cannot say which do.
    pub(super) fn plan<'s>(
        &'s self,
        model: &Model,
        reference: &OpenReference,
        mode: &OneMode,
    ) -> (Vec<PlannedCheck<'s>>, Vec<BenchmarkResult>) {
        let (mut planned, mut failed) = (Vec::new(), Vec::new());
        let is_for = |chosen: &&ChosenBenchmark<'_>| {
            let only_in = chosen.benchmark.info().only_in;
            only_in.is_none_or(|only| only == mode.mode)
        };
        for chosen in self.benchmarks.iter().filter(is_for) {
            let info = Arc::new(self.model_info(model, reference, mode, &chosen.options));
            match chosen.benchmark.plan(&info).and_then(checked) {
                Ok(checks) => planned.extend(checks.into_iter().map(|check| PlannedCheck {
                    id: self.id(chosen, mode.mode, &reference.id, &check.variant),
                    chosen,
                    info: Arc::clone(&info),
                    check,
                })),
                Err(error) => {
                    let id = self.id(chosen, mode.mode, &reference.id, "plan");
                    failed.push(BenchmarkResult::new(
                        id,
                        reference.tier,
                        verdict_of(&error),
                        0.0,
                    ));
                }
            }
        }
        if is_large(&mode.parameters) {
            let order = Order::of(planned.iter().map(|one| &one.check), &mode.processing);
            planned.sort_by_key(|one| order.place(&one.check));
        }
        (planned, failed)
    }

    pub(super) fn model_info(
        &self,
        model: &Model,
        reference: &OpenReference,
        mode: &OneMode,
        options: &Map<String, Value>,
    ) -> ModelInfo {
        ModelInfo {
            name: self.entry.name.clone(),
            subject: self.subject_name().to_owned(),
            mode: mode.mode,
            processing: mode.processing.clone(),
            dtype: self.entry.dtype,
            spec: model.spec.clone(),
            hooks: model.hooks.clone(),
            parameters: mode.parameters.clone(),
            reference: reference.id.clone(),
            tier: reference.tier,
            stimuli: mode.stimuli.clone(),
            firings: mode.firings.clone(),
            usage: model.usage.clone(),
            judging: self.run.judging,
            options: options.clone(),
        }
    }

    pub(super) fn id(
        &self,
        chosen: &ChosenBenchmark<'_>,
        mode: Mode,
        reference: &str,
        variant: &str,
    ) -> CheckId {
        let info = chosen.benchmark.info();
        CheckId {
            model: self.entry.name.clone(),
            mode,
            module: info.module,
            benchmark: info.id,
            reference: reference.to_owned(),
            variant: variant.to_owned(),
        }
    }
}

fn firings(subject: &SourceInfo, reference: &SourceInfo) -> BTreeMap<Role, Firings> {
    let told = [(Role::Subject, subject), (Role::Reference, reference)].into_iter();
    told.filter_map(|(role, info)| Some((role, info.firings.clone()?)))
        .collect()
}

/// A plan whose checks can be told apart, and from those that stand for what is not verified.
fn checked(checks: Vec<Check>) -> Result<Vec<Check>, PluginError> {
    check_plan(&checks)?;
    if checks.iter().any(|check| check.variant == UNVERIFIED) {
        let message = format!("plans a check of the variant `{UNVERIFIED}`, which is reserved");
        return Err(PluginError::invalid_input(message));
    }
    Ok(checks)
}
