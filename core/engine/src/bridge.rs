//! A spec with its weights, ready to answer traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use tlbench_checkpoint::Weights;
use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::{
    DType, Evaluation, HookPoint, ModelSpec, PluginError, Processing, Quantity, SourceInfo, Trace,
    TraceRequest, TraceSource,
};

use crate::arithmetic::Arithmetic;
use crate::canonical_weights::CanonicalWeights;
use crate::components::Run;
use crate::convert::from_candle;
use crate::error::EngineError;
use crate::gradients::{WantedParameters, backward, is_differentiated, on_a_large_stack};
use crate::inputs::Inputs;
use crate::loss::next_token_loss;
use crate::model::Model;
use crate::probe::Probe;
use crate::processed_weights::ProcessedWeights;
use crate::weight_edits::{edit_weights, edits_weights};

/// A model that runs on candle. Cloning shares the weights.
#[derive(Clone)]
pub struct Bridge {
    model: Arc<Model>,
    processed: ProcessedWeights,
    arithmetic: Arithmetic,
}

impl Bridge {
    /// Reads what `spec` takes from `weights`, and computes in `dtype` from then on. In bf16 and f16 weights and the
    /// output of every operation are rounded to that type; what is inside of one operation is f32.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or the spec asks for what the engine does not have.
    pub fn open(spec: &ModelSpec, weights: &Weights, dtype: DType) -> Result<Self, EngineError> {
        let weights = CanonicalWeights::read(spec, weights, dtype)?;
        let model = Arc::new(Model::assemble(weights)?);
        Ok(Self {
            processed: ProcessedWeights::of(Arc::clone(&model)),
            model,
            arithmetic: Arithmetic::Native,
        })
    }

    /// The same model with its products summed in another order.
    #[must_use]
    pub fn with_arithmetic(&self, arithmetic: Arithmetic) -> Self {
        Self {
            arithmetic,
            ..self.clone()
        }
    }

    /// The same model with its weights processed, beside the steps that were taken already. This one stays as it is;
    /// they share all weights that no step changes.
    ///
    /// Of all bridges that come from one [`Bridge::open`], the weights that were processed last are kept for the next
    /// one that wants the same.
    ///
    /// # Errors
    /// If a step is not for this model.
    pub fn processed(&self, processing: &Processing) -> Result<Self, EngineError> {
        let (model, processed) = self.processed.after(processing)?;
        Ok(Self {
            model,
            processed,
            arithmetic: self.arithmetic,
        })
    }

    /// The same model with every step of weight processing that it admits.
    ///
    /// # Errors
    /// If candle fails.
    #[doc(alias = "enable_compatibility_mode")]
    pub fn compat(&self) -> Result<Self, EngineError> {
        self.processed(&Processing::compat(self.processed.raw_spec()))
    }

    /// The steps of weight processing that were taken.
    pub fn processing(&self) -> &Processing {
        self.processed.processing()
    }

    /// What runs: the spec that was opened, or what processing has made of it.
    pub fn spec(&self) -> &ModelSpec {
        self.model.weights.spec()
    }

    /// What it runs with, by TransformerLens's names.
    pub fn weights(&self) -> &CanonicalWeights {
        &self.model.weights
    }

    /// The precision that it runs in.
    pub fn dtype(&self) -> DType {
        self.model.precision.dtype()
    }

    /// The hook points, in execution order.
    pub fn hooks(&self) -> &[HookPoint] {
        &self.model.hooks
    }

    /// Answers one request.
    ///
    /// # Errors
    /// If the request is wrong, or asks for what the engine does not do yet.
    pub fn run(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        let bridge = self
            .processed(&request.processing)?
            .with_edited_weights(request)?;
        let mut trace = bridge.answer(request)?;
        for quantity in &request.capture {
            if let Quantity::Weight(name) = quantity {
                trace
                    .values
                    .insert(quantity.clone(), bridge.weights().get(name)?);
            }
        }
        Ok(trace)
    }

    /// The model for this request alone.
    fn with_edited_weights(self, request: &TraceRequest) -> Result<Self, EngineError> {
        if !edits_weights(request) {
            return Ok(self);
        }
        let weights = edit_weights(&self.model.weights, request)?;
        let model = Arc::new(Model::assemble(weights)?);
        Ok(Self { model, ..self })
    }

    /// Answers a request whose processing and edits of weights are in the model.
    fn answer(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        refuse_unanswerable(request)?;
        if is_differentiated(request)? {
            on_a_large_stack(|| self.run_through(request, true))
        } else {
            self.run_through(request, false)
        }
    }

    fn run_through(
        &self,
        request: &TraceRequest,
        differentiated: bool,
    ) -> Result<Trace, EngineError> {
        let model = &*self.model;
        let inputs = Inputs::new(&request.inputs)?;
        let computed = model.precision.computed();
        let mut probe = Probe::new(request, &model.hooks, computed)?;
        let parameters = WantedParameters::new(request, model)?;
        let mut run = Run::new(&inputs, &mut probe, model.precision, self.arithmetic);
        if differentiated {
            run.tape = Some(parameters.tape(computed)?);
        }
        let logits = model.forward(&mut run)?;
        let tape = run.tape.take();
        if tape.is_some() {
            backward(request, &logits.edited, &inputs)?;
        }
        let mut values = probe.finish()?;
        if let Some(tape) = tape {
            values.extend(parameters.found(tape)?);
        }
        let asked = |quantity: &Quantity| request.capture.contains(quantity);
        if asked(&Quantity::Logits) {
            let shown = match request.evaluation {
                Evaluation::Local => &logits.computed,
                Evaluation::Cumulative => &logits.edited,
            };
            values.insert(Quantity::Logits, from_candle(shown)?);
        }
        if asked(&Quantity::LogProbs) {
            values.insert(
                Quantity::LogProbs,
                log_softmax(&from_candle(&logits.edited)?),
            );
        }
        if asked(&Quantity::LossPerToken) || asked(&Quantity::Loss) {
            let (per_token, mean) = next_token_loss(&logits.edited, &inputs)?;
            values.insert(Quantity::LossPerToken, per_token);
            values.insert(Quantity::Loss, mean);
            values.retain(|quantity, _| asked(quantity));
        }
        Ok(Trace {
            values,
            floors: BTreeMap::new(),
        })
    }
}

impl TraceSource for Bridge {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            processes_weights: true,
            ..SourceInfo::default()
        }
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        Ok(self.run(request)?)
    }
}

fn refuse_unanswerable(request: &TraceRequest) -> Result<(), EngineError> {
    let unanswerable = [
        (!request.chunks.is_empty(), "a run in chunks"),
        (request.generate.is_some(), "generation"),
    ];
    if let Some((_, what)) = unanswerable.iter().find(|(asked, _)| *asked) {
        return Err(EngineError::Unanswerable((*what).to_owned()));
    }
    let strange = request
        .capture
        .iter()
        .find(|quantity| matches!(quantity, Quantity::Generated));
    strange.map_or(Ok(()), |quantity| {
        Err(EngineError::Unanswerable(format!("`{quantity}`")))
    })
}
