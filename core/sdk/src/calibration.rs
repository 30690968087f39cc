//! Truth and floors of whoever computes in f64 and, in several orders of summation, in f32.
//!
//! The truth is the f64 run; the floors are the errors of the f32 runs, each at least what rounding once costs, and at
//! least the relative error on the longest announced input.

mod measured;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::measured::{Measurements, Pass, floor, measure};
use crate::benchmark::{Parameter, is_large};
use crate::compare::{Floor, Region};
use crate::error::PluginError;
use crate::hooks::HookPoint;
use crate::processing::Processing;
use crate::reference::Stimulus;
use crate::tensor::{Tensor, TensorMap};
use crate::trace::{ATTENTION_MASK, Evaluation, Quantity, Trace, TraceRequest};

/// What was asked for, by quantity.
pub type Values = BTreeMap<Quantity, Tensor>;

/// In how many pieces the f32 runs sum. Each is right, and they round differently.
const PIECES: [usize; 3] = [1, 3, 5];

/// Those for a model of that size. The RMS error of many elements hardly depends on the order.
fn pieces(is_large: bool) -> &'static [usize] {
    if is_large { &PIECES[..1] } else { &PIECES }
}

/// What follows from the logits, each with a floor of its own.
static DERIVED: [Quantity; 4] = [
    Quantity::Logits,
    Quantity::LogProbs,
    Quantity::LossPerToken,
    Quantity::Loss,
];

/// How a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// In f64.
    Exact,
    /// In f32.
    Rounded {
        /// In how many pieces matrix products are summed.
        pieces: usize,
    },
}

/// Someone who computes in both precisions.
pub trait Computes {
    /// A model with the weights that a question is about.
    type Model;
    /// What goes wrong there.
    type Error: From<PluginError>;

    /// The model that `request` is about.
    ///
    /// # Errors
    /// If there is none.
    fn model(&self, request: &TraceRequest) -> Result<Self::Model, Self::Error>;

    /// What `request` asks of `model`.
    ///
    /// # Errors
    /// If the model cannot answer it.
    fn run(
        &self,
        model: &Self::Model,
        request: &TraceRequest,
        precision: Precision,
    ) -> Result<Values, Self::Error>;
}

/// What is known about the rounding errors of one checkpoint.
#[derive(Debug)]
pub struct Calibration {
    hooks: Vec<HookPoint>,
    /// In how many pieces f32 runs sum.
    pieces: &'static [usize],
    /// The longest inputs on which each quantity will be looked at.
    longest: BTreeMap<Quantity, TensorMap>,
    /// What was measured on them, by how weights are processed and whether there is a way back.
    measured: Mutex<BTreeMap<(Processing, bool), Measurements>>,
}

impl Calibration {
    /// Nothing yet about a model with these hooks and parameters, which will be asked `stimuli` among others.
    pub fn new(hooks: Vec<HookPoint>, parameters: &[Parameter], stimuli: &[Stimulus]) -> Self {
        Self {
            hooks,
            pieces: pieces(is_large(parameters)),
            longest: longest(stimuli),
            measured: Mutex::default(),
        }
    }

    /// The same about someone who cannot choose how sums are cut.
    #[must_use]
    pub fn in_one_order(mut self) -> Self {
        self.pieces = pieces(true);
        self
    }

    /// Where truth and floors come from, for a provenance.
    pub fn precision(&self) -> String {
        let orders = match self.pieces.len() {
            1 => "one order".to_owned(),
            count => format!("{count} orders"),
        };
        format!("f64, against f32 summed in {orders}")
    }

    /// The truth that `request` asks for, with its floors; a local run has none.
    ///
    /// # Errors
    /// Whatever a run ends with.
    pub fn answer<C: Computes>(
        &self,
        computes: &C,
        request: &TraceRequest,
    ) -> Result<Trace, C::Error> {
        let model = computes.model(request)?;
        let asked = with_derived(request);
        let truth = computes.run(&model, &asked, Precision::Exact)?;
        let mut trace = Trace::default();
        if request.evaluation == Evaluation::Cumulative {
            trace.floors = self.floors(computes, &model, &asked, &truth)?;
        }
        trace.values = truth;
        trace
            .values
            .retain(|quantity, _| request.capture.contains(quantity));
        Ok(trace)
    }

    /// The floor of each quantity in `truth`.
    fn floors<C: Computes>(
        &self,
        computes: &C,
        model: &C::Model,
        request: &TraceRequest,
        truth: &Values,
    ) -> Result<BTreeMap<Quantity, Floor>, C::Error> {
        if !truth.keys().any(is_rounded) {
            return Ok(BTreeMap::new());
        }
        let measured = self.measure(computes, model, request, truth)?;
        let kind = (request.processing.clone(), request.gradients.is_some());
        let mut pool = lock(&self.measured);
        let on_longest = pool.entry(kind).or_default();
        for question in self.on_longest(request, on_longest) {
            // What is wrong with another input is told to who asks about that one.
            let measured = self.measure_anew(computes, &question);
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

    fn measure_anew<C: Computes>(
        &self,
        computes: &C,
        question: &TraceRequest,
    ) -> Result<Measurements, C::Error> {
        let model = computes.model(question)?;
        let truth = computes.run(&model, question, Precision::Exact)?;
        self.measure(computes, &model, question, &truth)
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

    /// The question in which each component starts from the truth, if that makes sense for `request`.
    fn local_question(&self, request: &TraceRequest, truth: &Values) -> Option<TraceRequest> {
        let hooks = true_inputs(&self.hooks, truth);
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
    fn measure<C: Computes>(
        &self,
        computes: &C,
        model: &C::Model,
        request: &TraceRequest,
        truth: &Values,
    ) -> Result<Measurements, C::Error> {
        let region = request.inputs.get(ATTENTION_MASK).and_then(Region::new);
        let region = region.ok_or_else(|| {
            PluginError::invalid_input(format!("{ATTENTION_MASK}: expected [batch, pos] of i64"))
        })?;
        let mut measurements = Measurements::new();
        let request = &without_tokens(request);
        let local = self.local_question(request, truth);
        for &pieces in self.pieces {
            for (pass, question) in [
                (Pass::Cumulative, Some(request)),
                (Pass::Local, local.as_ref()),
            ] {
                if let Some(question) = question {
                    let values = computes.run(model, question, Precision::Rounded { pieces })?;
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

/// The values that a local run sets hooks to, when floors are measured. Hooks behind a gate are not set: which are shown
/// differs with what else is asked for, and floors must not.
pub fn true_inputs(hooks: &[HookPoint], truth: &Values) -> TensorMap {
    let hooks = hooks.iter().filter(|hook| hook.gate.is_none());
    hooks
        .filter_map(|hook| {
            let value = truth.get(&Quantity::hook(&hook.name))?;
            Some((hook.name.clone(), value.clone()))
        })
        .collect()
}

/// Whether it is computed, rather than chosen or stored.
fn is_rounded(quantity: &Quantity) -> bool {
    !matches!(quantity, Quantity::Generated | Quantity::Weight(_))
}

/// The same without the tokens that follow: they are chosen, and so have no error, and cost a run each.
fn without_tokens(request: &TraceRequest) -> TraceRequest {
    let mut request = request.clone();
    request
        .capture
        .retain(|quantity| *quantity != Quantity::Generated);
    request
}

/// The same with everything that whoever judges it may work out of what is asked for.
fn with_derived(request: &TraceRequest) -> TraceRequest {
    let mut request = request.clone();
    let asks_for = |one: &Quantity| request.capture.contains(one);
    let derived = match DERIVED.iter().find(|one| asks_for(one)) {
        Some(Quantity::Logits | Quantity::LogProbs) => &DERIVED[..],
        // What asks for losses alone judges losses alone, which are a few numbers where logits are many.
        Some(_) => &DERIVED[2..],
        None => &[],
    };
    if request.generate.is_none() {
        let missing = derived.iter().filter(|one| !asks_for(one)).cloned();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_losses_is_not_told_about_logits() {
        let derived = |asked: &[Quantity]| {
            let request = TraceRequest::new(TensorMap::new(), asked.to_vec());
            with_derived(&request).capture
        };
        let [logits, log_probs, per_token, loss] = DERIVED.clone();
        assert_eq!(derived(&[]), []);
        assert_eq!(
            derived(std::slice::from_ref(&loss)),
            [loss.clone(), per_token.clone()]
        );
        assert_eq!(
            derived(&[logits.clone(), loss.clone()]),
            [logits, loss, log_probs, per_token]
        );
    }
}
