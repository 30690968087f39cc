//! The first operation of a model that is wrong.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use serde_json::Map;
use tlbench_sdk::compare::Region;
use tlbench_sdk::{
    ATTENTION_MASK, Divergence, Evaluation, Measurement, ModelInfo, OpenRequest, PluginError,
    Processing, Quantity, Role, Stimulus, TensorMap, Trace, TraceRequest, TraceSource,
};

use super::Session;
use super::planning::OneMode;
use crate::bisect::{
    BisectError, Bisection, Evidence, Finding, LOGITS, Material, Path, Step, Wrong, WrongValue,
    attention_of,
};
use crate::hook_by_hook::HookByHook;
use crate::model::Model;
use crate::references::{ProgressHost, Unavailable};

/// One input, hook by hook.
struct OneInput {
    stimulus: Stimulus,
    truth: Trace,
    compared: HookByHook,
}

/// An input that somebody does not answer, and why.
type Refused = (String, PluginError);

impl Session<'_> {
    /// Compares the model hook by hook with the best reference; the file about what is wrong goes to `out`.
    pub(crate) fn bisect(&self, out: &FilePath) -> Result<Bisection, BisectError> {
        let (_, model) = self.open_model()?;
        let digests = [model.folder.config_digest(), model.folder.weights_digest()?];
        let stimuli = self.stimuli(&model, &Processing::raw())?;
        let asked = OpenRequest {
            role: Role::Subject,
            ..self.open_request(&model, self.subject_name(), &stimuli, &digests)
        };
        let host = ProgressHost(self.sink);
        let subject = self.open_subject(self.on_trial()?, &model, &asked, &host)?;
        let bridge = subject.bridge();
        let (reference, unavailable) = self.best_reference(&model, bridge, &stimuli, &digests);
        let reasons = || -> Vec<(String, String)> {
            let missing = unavailable.iter();
            let reason = missing.map(|missing| (missing.asked.clone(), missing.reason.clone()));
            reason.collect()
        };
        let Some(reference) = reference else {
            let reasons = reasons().into_iter();
            let reasons: Vec<String> = reasons.map(|(who, why)| format!("{who}: {why}")).collect();
            return Err(BisectError::NoReference {
                model: self.entry.name.clone(),
                reasons: reasons.join("; "),
            });
        };
        let raw = OneMode::raw(&model, reference.stimuli(&stimuli));
        let info = self.model_info(&model, &reference, &raw, &Map::new());
        let (inputs, refused) =
            self.compared(&info, subject.source(), reference.source.as_ref())?;
        let names = inputs
            .iter()
            .map(|input| input.stimulus.id.clone())
            .collect();
        let finding = self.finding(&model, &info, inputs, out)?;
        Ok(Bisection {
            model: self.entry.name.clone(),
            subject: self.subject_name().to_owned(),
            reference: reference.id.clone(),
            tier: reference.tier,
            is_incomplete: refused.iter().any(|(_, error)| is_failure(error))
                || unavailable.iter().any(Unavailable::counts),
            unavailable: reasons(),
            inputs: names,
            refused,
            finding,
        })
    }

    /// Every input on which hooks are shown, each component of the subject on the truth, and those that somebody does not
    /// answer: another one may still show what is wrong.
    fn compared(
        &self,
        info: &ModelInfo,
        subject: &dyn TraceSource,
        reference: &dyn TraceSource,
    ) -> Result<(Vec<OneInput>, Vec<Refused>), BisectError> {
        let (mut inputs, mut refused) = (Vec::new(), Vec::new());
        for stimulus in &info.stimuli {
            let Some(question) = hook_by_hook(stimulus) else {
                continue;
            };
            self.progress(format!("{}: {}", self.entry.name, stimulus.id));
            match one_input(info, stimulus, &question, subject, reference) {
                Ok(input) => inputs.push(input),
                Err(error) => refused.push((stimulus.id.clone(), error)),
            }
        }
        if inputs.is_empty() {
            let none = || "the reference shows no hook on any input".to_owned();
            let told = |(input, error): &(String, PluginError)| format!("input `{input}`: {error}");
            return Err(BisectError::NoHooks {
                model: self.entry.name.clone(),
                reason: refused.first().map_or_else(none, told),
            });
        }
        Ok((inputs, refused))
    }

    fn finding(
        &self,
        model: &Model,
        info: &ModelInfo,
        inputs: Vec<OneInput>,
        out: &FilePath,
    ) -> Result<Finding, BisectError> {
        let values = inputs
            .iter()
            .map(|input| input.compared.findings.measurements().len());
        let values = values.sum();
        let first = inputs
            .into_iter()
            .filter_map(|input| Some((input.compared.findings.first_divergence()?, input)))
            .min_by_key(|(divergence, input)| {
                let tokens = input.compared.local.shape().iter().product::<usize>();
                let is_inherited = divergence.evaluation == Evaluation::Cumulative;
                // What is missing has no evaluation of its own.
                let is_inherited = is_inherited && divergence.ratio.is_finite();
                let shown = &input.stimulus.request.capture;
                let place = place(info, shown, &divergence.quantity);
                (is_inherited, place, tokens)
            });
        let Some((divergence, input)) = first else {
            return Ok(Finding::Right { values });
        };
        let hook = divergence.quantity.as_hook().unwrap_or(LOGITS);
        let is_known = |name: &str| input.compared.local.truth.contains_key(name);
        let path = Path::to(&model.spec, hook, is_known);
        let evidence = match &path {
            Some(path) => self.evidence(model, info, &input, &divergence, path, out)?,
            None => Evidence::Missing,
        };
        let operations = path.into_iter().flat_map(|path| path.operations);
        Ok(Finding::Wrong(Box::new(WrongValue {
            operations: operations.map(Step::from).collect(),
            evidence,
            input: input.stimulus.id,
            details: input.compared.findings.verdict(info, "hooks").details,
            divergence,
        })))
    }

    fn evidence(
        &self,
        model: &Model,
        info: &ModelInfo,
        input: &OneInput,
        divergence: &Divergence,
        path: &Path,
        out: &FilePath,
    ) -> Result<Evidence, BisectError> {
        let quantity = &divergence.quantity;
        let mut measurements = input.compared.findings.measurements().iter();
        let measured =
            |m: &&Measurement| m.quantity == *quantity && m.evaluation == divergence.evaluation;
        let Some(measurement) = measurements.find(measured) else {
            return Ok(Evidence::Missing);
        };
        if divergence.evaluation == Evaluation::Cumulative {
            return Ok(Evidence::Inherited);
        }
        let (Some(found), Some(truth), Some(region)) = (
            input.compared.shown.value(quantity),
            input.truth.value(quantity),
            region(&input.compared.local.inputs),
        ) else {
            return Ok(Evidence::Missing);
        };
        let hook = quantity.as_hook().unwrap_or("unembed.hook_out");
        let Some(point) = model.hooks.iter().find(|point| point.name == hook) else {
            return Ok(Evidence::Missing);
        };
        let wrong = Wrong {
            dims: &point.shape,
            found,
            truth,
            region: &region,
            floor: measurement.floor,
            attention: attention_of(&model.spec, hook),
            is_by_head: path.operations.len() == 1,
        };
        let values = known_values(&input.compared.local);
        let material = Material {
            spec: &model.spec,
            hooks: &model.hooks,
            weights: model.folder.weights(),
            path,
            wrong: &wrong,
            ratio: measurement.ratio,
            values: &values,
        };
        let told = [
            ("model", &self.entry.name),
            ("subject", &info.subject),
            ("reference", &info.reference),
            ("input", &input.stimulus.id),
        ];
        let told = told.map(|(name, text)| (name.to_owned(), text.clone()));
        let written = material.write(out, BTreeMap::from(told))?;
        Ok(Evidence::File(written))
    }
}

/// Whether something went wrong, rather than not being there.
fn is_failure(error: &PluginError) -> bool {
    !error.kind.is_no_answer()
}

/// The question of `stimulus` for hooks and logits alone, if it is a plain run that shows a hook.
fn hook_by_hook(stimulus: &Stimulus) -> Option<TraceRequest> {
    let request = &stimulus.request;
    let is_value = |quantity: &&Quantity| matches!(quantity, Quantity::Hook(_) | Quantity::Logits);
    let capture: Vec<Quantity> = request.capture.iter().filter(is_value).cloned().collect();
    let shows_hook = capture.iter().any(|quantity| quantity.as_hook().is_some());
    (request.is_plain() && shows_hook).then(|| TraceRequest {
        capture,
        ..request.clone()
    })
}

fn one_input(
    info: &ModelInfo,
    stimulus: &Stimulus,
    question: &TraceRequest,
    subject: &dyn TraceSource,
    reference: &dyn TraceSource,
) -> Result<OneInput, PluginError> {
    let truth = reference.trace(question)?;
    Ok(OneInput {
        stimulus: stimulus.clone(),
        compared: HookByHook::locate(info, question, &truth, subject)?,
        truth,
    })
}

/// The place in execution order, of a hook that only the reference has the one behind what it shows before.
fn place(info: &ModelInfo, shown: &[Quantity], quantity: &Quantity) -> usize {
    let known = |quantity: &Quantity| match quantity.as_hook() {
        Some(hook) => info.hooks.iter().position(|point| point.name == hook),
        None => Some(info.hooks.len()),
    };
    let before = shown.iter().take_while(|shown| *shown != quantity);
    let behind = || before.filter_map(known).max().map_or(0, |place| place + 1);
    known(quantity).unwrap_or_else(behind)
}

fn region(inputs: &TensorMap) -> Option<Region> {
    inputs.get(ATTENTION_MASK).and_then(Region::new)
}

/// The truth at every hook that was set to it, and the inputs of the model.
fn known_values(local: &TraceRequest) -> TensorMap {
    let known = local.truth.iter().chain(&local.inputs);
    known
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
