//! A spec with its weights, ready to answer traces.

use std::collections::BTreeMap;
use std::sync::Arc;

use tlbench_checkpoint::Weights;
use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::{
    DType, Evaluation, HookPoint, ModelSpec, PluginError, Quantity, SourceInfo, Trace,
    TraceRequest, TraceSource,
};

use crate::arithmetic::Arithmetic;
use crate::components::Run;
use crate::convert::from_candle;
use crate::error::EngineError;
use crate::gradients::{WantedParameters, backward, is_differentiated, on_a_large_stack};
use crate::inputs::Inputs;
use crate::loss::next_token_loss;
use crate::model::Model;
use crate::precision::Precision;
use crate::probe::Probe;
use crate::weights::Parameters;

/// A model that runs on candle. Cloning shares the weights.
#[derive(Clone)]
pub struct Bridge {
    model: Arc<Model>,
    arithmetic: Arithmetic,
}

impl Bridge {
    /// Reads what `spec` takes from `weights`, and computes in `dtype` from then on. In bf16 and f16 weights and the
    /// output of every operation are rounded to that type; what is inside of one operation is f32.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or the spec asks for what the engine does not have.
    pub fn open(spec: &ModelSpec, weights: &Weights, dtype: DType) -> Result<Self, EngineError> {
        let precision = Precision::new(dtype)?;
        let parameters = Parameters::read(spec, weights, precision)?;
        let model = Model::assemble(spec, &parameters, precision)?;
        Ok(Self {
            model: Arc::new(model),
            arithmetic: Arithmetic::Native,
        })
    }

    /// The same model with its products summed in another order.
    #[must_use]
    pub fn with_arithmetic(&self, arithmetic: Arithmetic) -> Self {
        Self {
            model: Arc::clone(&self.model),
            arithmetic,
        }
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
        let mut logits = model.forward(&mut run)?;
        let tape = run.tape.take();
        if tape.is_some() {
            backward(request, &logits.edited, &inputs)?;
            logits = logits.detached();
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
        SourceInfo::default()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        Ok(self.run(request)?)
    }
}

fn refuse_unanswerable(request: &TraceRequest) -> Result<(), EngineError> {
    let unanswerable = [
        (!request.processing.is_raw(), "processed weights"),
        (!request.chunks.is_empty(), "a run in chunks"),
        (request.generate.is_some(), "generation"),
    ];
    if let Some((_, what)) = unanswerable.iter().find(|(asked, _)| *asked) {
        return Err(EngineError::Unanswerable((*what).to_owned()));
    }
    let strange = request
        .capture
        .iter()
        .find(|quantity| matches!(quantity, Quantity::Generated | Quantity::Weight(_)));
    strange.map_or(Ok(()), |quantity| {
        Err(EngineError::Unanswerable(format!("`{quantity}`")))
    })
}
