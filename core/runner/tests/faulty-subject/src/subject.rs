//! A right implementation between a wrong question and a wrong way of showing its answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use faults::{Edit, Fault, Processed, Question, Run, Scope};
use tlbench_checkpoint::ModelFolder;
use tlbench_engine::{Arithmetic, Bridge, EngineError};
use tlbench_sdk::{
    Action, Intervention, ModelSpec, OpenRequest, PluginError, Processing, Quantity, SourceInfo,
    Target, TensorMap, Trace, TraceRequest, TraceSource,
};

/// The bridge, with what is wrong.
pub(crate) struct Subject {
    fault: &'static Fault,
    spec: ModelSpec,
    bridge: Bridge,
    /// What runs on another spec instead, and where.
    edited: Option<(Scope, Bridge)>,
    weights: Mutex<BTreeMap<Processing, TensorMap>>,
    /// The run before.
    last: Mutex<Option<Run>>,
}

impl Subject {
    pub(crate) fn open(request: &OpenRequest, fault: &'static Fault) -> Result<Self, PluginError> {
        let folder = ModelFolder::open(&request.folder);
        let folder = folder.map_err(|error| PluginError::io(error.to_string()))?;
        let open = |spec: &ModelSpec| Bridge::open(spec, folder.weights(), request.dtype);
        let mut edited = None;
        for edit in fault.edits {
            if let Edit::Spec(scope, change) = edit {
                let mut spec = request.spec.clone();
                change(&mut spec);
                edited = Some((*scope, open(&spec)?));
            }
        }
        Ok(Self {
            fault,
            spec: request.spec.clone(),
            bridge: open(&request.spec)?,
            edited,
            weights: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// The question that is answered in the place of `request`.
    fn question(
        &self,
        request: &TraceRequest,
        last: Option<&Run>,
    ) -> Result<Question, PluginError> {
        let mut question = Question {
            request: request.clone(),
            pieces: None,
        };
        for edit in self.fault.edits {
            match edit {
                Edit::Question(change) => change(&self.spec, &mut question),
                Edit::Leftover(change) => {
                    if let Some(last) = last {
                        change(last, &mut question);
                    }
                }
                Edit::Place(other) => {
                    for quantity in &mut question.request.capture {
                        if let Some(other) = other(quantity) {
                            *quantity = other;
                        }
                    }
                }
                Edit::Weights(_) => self.put_weights(&mut question.request)?,
                Edit::Spec(..) | Edit::Answer(_) => {}
            }
        }
        Ok(question)
    }

    /// Lets the run have the wrong weights, before whatever else is edited in it.
    fn put_weights(&self, request: &mut TraceRequest) -> Result<(), PluginError> {
        if request.processing.is_raw() {
            return Ok(());
        }
        let mut known = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&request.processing) {
            let weights = self.wrong_weights(&request.processing)?;
            known.insert(request.processing.clone(), weights);
        }
        let weights = &known[&request.processing];
        let put = |name: &String| {
            let operand = name.clone();
            Intervention::new(Target::Weight(name.clone()), Action::Replace { operand })
        };
        request.interventions.splice(0..0, weights.keys().map(put));
        request.operands.extend(weights.clone());
        Ok(())
    }

    fn wrong_weights(&self, processing: &Processing) -> Result<TensorMap, PluginError> {
        let weight = |name: &str, processing: &Processing| {
            let bridge = self.bridge.processed(processing)?;
            Ok(bridge.weights().get(name)?)
        };
        let right = Processed {
            spec: &self.spec,
            processing,
            weight: &weight,
        };
        let mut wrong = TensorMap::new();
        for edit in self.fault.edits {
            if let Edit::Weights(change) = edit {
                wrong.extend(change(&right)?);
            }
        }
        Ok(wrong)
    }

    fn run(&self, question: &Question) -> Result<Trace, EngineError> {
        let Question { request, pieces } = question;
        let bridge = match &self.edited {
            Some((scope, edited)) if scope.has(request) => edited,
            _ => &self.bridge,
        };
        match pieces {
            Some(pieces) => bridge
                .with_arithmetic(Arithmetic::SplitSums(*pieces))
                .run(request),
            None => bridge.run(request),
        }
    }

    /// The answer to `request`, from the trace of the question that was asked in its place.
    fn shown(&self, request: &TraceRequest, mut trace: Trace) -> Trace {
        for edit in self.fault.edits {
            match edit {
                Edit::Place(other) => {
                    let value = |quantity: &Quantity| {
                        let place = other(quantity).unwrap_or(quantity.clone());
                        Some((quantity.clone(), trace.value(&place)?.clone()))
                    };
                    trace.values = request.capture.iter().filter_map(value).collect();
                }
                Edit::Answer(change) => change(request, &mut trace),
                _ => {}
            }
        }
        trace
    }
}

impl TraceSource for Subject {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            processes_weights: true,
            ..SourceInfo::default()
        }
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let question = self.question(request, last.as_ref())?;
        let trace = self.run(&question)?;
        *last = Some(Run {
            asked: request.clone(),
            answered: question,
            runs: last.as_ref().map_or(0, |last| last.runs) + 1,
        });
        Ok(self.shown(request, trace))
    }
}
