//! An open model: truth in f64, and floors from runs in f32.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::DType;
use tlbench_sdk::compare::{Floor, Region};
use tlbench_sdk::{
    ATTENTION_MASK, Evaluation, HookPoint, ModelSpec, OpenRequest, PluginError, Processing,
    Quantity, SourceInfo, Stimulus, Target, TensorMap, Trace, TraceRequest, TraceSource, hooks,
};

use crate::answer::{Model, Values};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::floors::{Measurements, ORDERS, Pass, floor, measure};
use crate::model::refuse_unimplemented;
use crate::order::Order;
use crate::parameters::Parameters;
use crate::processing::process;
use crate::run::edited_weight;
use crate::stack::with_large_stack;

/// What follows from the logits, each with a floor of its own.
const DERIVED: [Quantity; 4] = [
    Quantity::Logits,
    Quantity::LogProbs,
    Quantity::LossPerToken,
    Quantity::Loss,
];

/// A model that answers.
pub(crate) struct Source {
    spec: ModelSpec,
    hooks: Vec<HookPoint>,
    checkpoint: Checkpoint,
    raw: Arc<Weights>,
    /// The last that were asked for.
    processed: Mutex<Option<(Processing, Arc<Weights>)>>,
    /// The longest inputs on which each quantity will be looked at.
    longest: BTreeMap<Quantity, TensorMap>,
    /// What was measured on them, by how weights are processed and whether there is a way back.
    measured: Mutex<BTreeMap<(Processing, bool), Measurements>>,
}

/// Weights in both precisions.
struct Weights {
    exact: Parameters,
    rounded: Parameters,
}

impl Weights {
    fn new(exact: Parameters) -> Result<Self> {
        let rounded = exact.to_dtype(DType::F32)?;
        Ok(Self { exact, rounded })
    }
}

impl Source {
    pub(crate) fn open(request: &OpenRequest) -> Result<Self> {
        Self::new(&request.folder, request.spec.clone(), &request.stimuli)
    }

    /// The model in `folder`, which will be asked `stimuli` among others.
    pub(crate) fn new(folder: &Path, spec: ModelSpec, stimuli: &[Stimulus]) -> Result<Self> {
        refuse_unimplemented(&spec)?;
        let checkpoint = Checkpoint::open(folder, &spec)?;
        let raw = Arc::new(Weights::new(checkpoint.parameters()?)?);
        Ok(Self {
            hooks: hooks(&spec),
            spec,
            checkpoint,
            raw,
            processed: Mutex::default(),
            longest: longest(stimuli),
            measured: Mutex::default(),
        })
    }

    fn answered(&self, request: &TraceRequest) -> Result<Trace> {
        let weights = self.weights(request)?;
        let asked = with_derived(request);
        let truth = self.truth(&weights, &asked)?;
        let mut trace = Trace::default();
        if request.evaluation == Evaluation::Cumulative {
            trace.floors = self.floors(&weights, &asked, &truth)?;
        }
        trace.values = truth;
        trace
            .values
            .retain(|quantity, _| request.capture.contains(quantity));
        Ok(trace)
    }

    fn truth(&self, weights: &Weights, request: &TraceRequest) -> Result<Values> {
        self.model(&weights.exact, DType::F64, Order::Whole)
            .answer(request)
    }

    fn model(&self, weights: &Parameters, dtype: DType, order: Order) -> Model<'_> {
        Model {
            spec: &self.spec,
            hooks: &self.hooks,
            checkpoint: &self.checkpoint,
            weights: weights.clone(),
            dtype,
            order,
        }
    }

    /// The weights that `request` is about: edited as checkpoint tensors, processed, and edited as canonical weights.
    fn weights(&self, request: &TraceRequest) -> Result<Arc<Weights>> {
        let edits = || {
            let all = request.interventions.iter();
            all.filter_map(|edit| match &edit.target {
                Target::Weight(name) => Some((name, edit)),
                Target::Hook(_) | Target::HookGradient(_) => None,
            })
        };
        if edits().next().is_none() {
            return self.unedited(&request.processing);
        }
        let operands = &request.operands;
        let mut weights = self.checkpoint.with_edited_tensors(
            self.raw.exact.clone(),
            &request.interventions,
            operands,
        )?;
        weights = process(&self.spec, &weights, &request.processing)?;
        for (name, edit) in edits() {
            if self.checkpoint.cut_from(name).is_none() {
                let edited = edited_weight(name, weights.get(name)?, edit, operands)?;
                weights.set(name, edited);
            }
        }
        Ok(Arc::new(Weights::new(weights)?))
    }

    fn unedited(&self, processing: &Processing) -> Result<Arc<Weights>> {
        if processing.is_raw() {
            return Ok(Arc::clone(&self.raw));
        }
        let mut last = lock(&self.processed);
        if let Some((of, weights)) = &*last
            && of == processing
        {
            return Ok(Arc::clone(weights));
        }
        // Let go of those first.
        *last = None;
        let weights = process(&self.spec, &self.raw.exact, processing)?;
        let weights = Arc::new(Weights::new(weights)?);
        *last = Some((processing.clone(), Arc::clone(&weights)));
        Ok(weights)
    }

    /// The floor of each quantity in `truth`.
    fn floors(
        &self,
        weights: &Weights,
        request: &TraceRequest,
        truth: &Values,
    ) -> Result<BTreeMap<Quantity, Floor>> {
        let measured = self.measure(weights, request, truth)?;
        let kind = (request.processing.clone(), request.gradients.is_some());
        let mut pool = lock(&self.measured);
        let on_longest = pool.entry(kind).or_default();
        for question in self.on_longest(request, on_longest) {
            // What is wrong with another input is told to who asks about that one.
            let measured = self.measured_anew(&question);
            on_longest.extend(measured.unwrap_or_default());
        }
        if request.interventions.is_empty() {
            let is_longest = |quantity: &Quantity| {
                self.longer(request, quantity).is_none() && self.longest.contains_key(quantity)
            };
            let measured = measured.iter().filter(|(quantity, _)| is_longest(quantity));
            on_longest.extend(measured.map(|(quantity, one)| (quantity.clone(), *one)));
        }
        let floor = |(quantity, measured): (Quantity, _)| {
            let floor = floor(measured, on_longest.get(&quantity));
            (quantity, floor)
        };
        Ok(measured.into_iter().map(floor).collect())
    }

    fn measured_anew(&self, question: &TraceRequest) -> Result<Measurements> {
        let weights = self.unedited(&question.processing)?;
        let truth = self.truth(&weights, question)?;
        self.measure(&weights, question, &truth)
    }

    /// What is to be measured on longer inputs before the floors of `request` are known: the same without edits.
    fn on_longest(&self, request: &TraceRequest, known: &Measurements) -> Vec<TraceRequest> {
        let mut questions: Vec<TraceRequest> = Vec::new();
        for quantity in &request.capture {
            let longer = self.longer(request, quantity);
            let Some(inputs) = longer.filter(|_| !known.contains_key(quantity)) else {
                continue;
            };
            match questions.iter_mut().find(|asked| asked.inputs == *inputs) {
                Some(asked) => asked.capture.push(quantity.clone()),
                None => questions.push(TraceRequest {
                    processing: request.processing.clone(),
                    gradients: request.gradients.clone(),
                    ..TraceRequest::new(inputs.clone(), vec![quantity.clone()])
                }),
            }
        }
        questions
    }

    /// The longest inputs on which `quantity` will be looked at, if those of `request` are shorter.
    fn longer(&self, request: &TraceRequest, quantity: &Quantity) -> Option<&TensorMap> {
        let longest = self.longest.get(quantity)?;
        (tokens(&request.inputs) < tokens(longest)).then_some(longest)
    }

    /// The question in which each component starts from the truth, if that makes sense for `request`. Hooks behind a gate
    /// are not set to it: which are shown differs with what else is asked for, and floors must not.
    fn local_question(&self, request: &TraceRequest, truth: &Values) -> Option<TraceRequest> {
        let hooks = self.hooks.iter().filter(|hook| hook.gate.is_none());
        let hooks: TensorMap = hooks
            .filter_map(|hook| {
                let value = truth.get(&Quantity::hook(&hook.name))?;
                Some((hook.name.clone(), value.clone()))
            })
            .collect();
        let is_alone = request.interventions.is_empty() && request.generate.is_none();
        if hooks.is_empty() || !is_alone {
            return None;
        }
        let is_local = |quantity: &&Quantity| {
            matches!(
                quantity,
                Quantity::Hook(_) | Quantity::Logits | Quantity::LogProbs
            )
        };
        let question = TraceRequest {
            capture: request.capture.iter().filter(is_local).cloned().collect(),
            gradients: None,
            ..request.clone()
        };
        Some(question.local(hooks))
    }

    /// The errors of f32 runs in every order, and of those in which each component starts from the truth.
    fn measure(
        &self,
        weights: &Weights,
        request: &TraceRequest,
        truth: &Values,
    ) -> Result<Measurements> {
        let region = request.inputs.get(ATTENTION_MASK).and_then(Region::new);
        let region = region
            .ok_or_else(|| Error::request(ATTENTION_MASK, "i64 [batch, pos]", "something else"))?;
        let mut measurements = Measurements::new();
        let local = self.local_question(request, truth);
        for order in ORDERS {
            let model = self.model(&weights.rounded, DType::F32, order);
            for (pass, question) in [
                (Pass::Cumulative, Some(request)),
                (Pass::Local, local.as_ref()),
            ] {
                if let Some(question) = question {
                    let values = model.answer(question)?;
                    measure(
                        &mut measurements,
                        pass,
                        &values,
                        truth,
                        &self.hooks,
                        &region,
                    );
                }
            }
        }
        Ok(measurements)
    }
}

#[cfg(test)]
impl Source {
    /// A weight after `processing` was done twice.
    pub(crate) fn processed_twice(
        &self,
        processing: &Processing,
        name: &str,
    ) -> tlbench_sdk::Tensor {
        let twice = |weights: &Parameters| process(&self.spec, weights, processing);
        let weights = twice(&self.raw.exact).and_then(|once| twice(&once));
        let weight = weights.and_then(|weights| crate::convert::from_candle(weights.get(name)?));
        weight.unwrap()
    }
}

impl TraceSource for Source {
    fn info(&self) -> SourceInfo {
        let provenance = [(
            "precision".to_owned(),
            "f64, against f32 summed in three orders".to_owned(),
        )];
        SourceInfo {
            stimuli: Vec::new(),
            processes_weights: true,
            provenance: provenance.into(),
        }
    }

    fn trace(&self, request: &TraceRequest) -> std::result::Result<Trace, PluginError> {
        Ok(with_large_stack(|| self.answered(request))?)
    }
}

/// The same with everything that follows from the logits, if any of it is asked for.
fn with_derived(request: &TraceRequest) -> TraceRequest {
    let mut request = request.clone();
    if request.generate.is_none() && DERIVED.iter().any(|one| request.capture.contains(one)) {
        let missing = DERIVED
            .into_iter()
            .filter(|one| !request.capture.contains(one));
        let missing: Vec<Quantity> = missing.collect();
        request.capture.extend(missing);
    }
    request
}

/// The longest inputs on which each quantity will be looked at. Their error says what that of a short one, which scatters,
/// would be on average.
fn longest(stimuli: &[Stimulus]) -> BTreeMap<Quantity, TensorMap> {
    let mut longest: BTreeMap<Quantity, TensorMap> = BTreeMap::new();
    let requests = stimuli.iter().map(|stimulus| &stimulus.request);
    let is_plain =
        |request: &&TraceRequest| request.interventions.is_empty() && request.generate.is_none();
    for request in requests.filter(is_plain) {
        for quantity in with_derived(request).capture {
            let known = longest.get(&quantity);
            if known.is_none_or(|inputs| tokens(&request.inputs) > tokens(inputs)) {
                longest.insert(quantity, request.inputs.clone());
            }
        }
    }
    longest
}

/// How many tokens are no padding.
fn tokens(inputs: &TensorMap) -> usize {
    let mask = inputs
        .get(ATTENTION_MASK)
        .and_then(|mask| mask.as_slice::<i64>());
    mask.map_or(0, |mask| mask.iter().filter(|&&value| value != 0).count())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
