//! A spec with its weights, ready to answer traces.

mod generation;
mod pieces;
mod weights_alone;
mod with_cache;
mod with_hooks;

pub use with_cache::CacheOptions;

use std::collections::BTreeMap;
use std::sync::Arc;

use tlbench_checkpoint::Weights;
use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::{
    DType, Deviation, Evaluation, HookPoint, ModelSpec, PluginError, Processing, Quantity,
    SourceInfo, Tensor, Trace, TraceRequest, TraceSource,
};

use crate::arithmetic::Arithmetic;
use crate::cache::KvCache;
use crate::canonical_weights::CanonicalWeights;
use crate::closures::Calls;
use crate::components::{Logits, Run};
use crate::convert::from_candle;
use crate::error::EngineError;
use crate::gradients::{WantedParameters, backward, is_differentiated, on_a_large_stack};
use crate::inputs::Inputs;
use crate::last_pass::{LastPass, Left, Runner};
use crate::loss::next_token_loss;
use crate::model::Model;
use crate::one_thread::without_spinning_threads;
use crate::packing::pack_weights;
use crate::probe::Probe;
use crate::processed_weights::ProcessedWeights;
use crate::weight_edits::{edit_weights, edits_weights};

/// A model that runs on candle. Cloning shares the weights.
#[derive(Clone)]
pub struct Bridge {
    model: Arc<Model>,
    processed: ProcessedWeights,
    arithmetic: Arithmetic,
    deviation: Option<Deviation>,
    last_pass: LastPass,
    /// The closures of the one call that this bridge is for.
    calls: Option<Calls>,
}

impl Bridge {
    /// Reads what `spec` takes from `weights`, and computes in `dtype` from then on. In bf16 and f16 weights and the
    /// output of every operation are rounded to that type; what is inside of one operation is f32.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or the spec asks for what the engine does not have.
    pub fn open(spec: &ModelSpec, weights: &Weights, dtype: DType) -> Result<Self, EngineError> {
        without_spinning_threads();
        pack_weights();
        let weights = CanonicalWeights::read(spec, weights, dtype)?;
        let model = Arc::new(Model::assemble(weights)?);
        Ok(Self {
            processed: ProcessedWeights::of(Arc::clone(&model)),
            model,
            arithmetic: Arithmetic::Native,
            deviation: None,
            last_pass: LastPass::default(),
            calls: None,
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

    /// The same model, with a mistake that no spec can say.
    #[must_use]
    pub fn with_deviation(&self, deviation: Deviation) -> Self {
        Self {
            deviation: Some(deviation),
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
            ..self.clone()
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

    /// Answers one request. Nothing of it shows in the answer to the next one: what a run with gradients of parameters leaves
    /// serves those of others, and no more.
    ///
    /// # Errors
    /// If the request is wrong, or asks for what the engine does not do yet.
    pub fn run(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        match weights_alone::names(request) {
            Some(names) => self.show_weights(request, &names),
            None => self.for_request(request)?.respond(request),
        }
    }

    /// The model with its weights processed and edited as this request wants it.
    fn for_request(&self, request: &TraceRequest) -> Result<Self, EngineError> {
        let bridge = self.processed(&request.processing)?;
        if !edits_weights(request) {
            return Ok(bridge);
        }
        let weights = edit_weights(&bridge.model.weights, request)?;
        let model = Arc::new(Model::assemble(weights)?);
        Ok(Self { model, ..bridge })
    }

    /// Answers a request whose processing and edits of weights are in the model.
    fn respond(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        let mut trace = self.answer(request)?;
        for quantity in &request.capture {
            if let Quantity::Weight(name) = quantity {
                let weight = self.weights().get(name)?;
                trace.values.insert(quantity.clone(), weight);
            }
        }
        Ok(trace)
    }

    fn answer(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        refuse_unanswerable(request)?;
        let left = self.last_pass.take_for(&self.runner(), request);
        if !is_differentiated(request)? {
            return self.answer_here(request);
        }
        if let Some(left) = left {
            let values = self.shown_of(left, request)?.into_iter().collect();
            let floors = BTreeMap::new();
            return Ok(Trace { values, floors });
        }
        let (trace, ()) = on_a_large_stack(|| self.answer_here(request), || ())?;
        trace
    }

    fn runner(&self) -> Runner {
        Runner {
            model: Arc::downgrade(&self.model),
            arithmetic: self.arithmetic,
            deviation: self.deviation,
        }
    }

    /// The gradients of parameters that `request` wants of what a run for it left, which is kept for the next one.
    fn shown_of(
        &self,
        mut left: Left,
        request: &TraceRequest,
    ) -> Result<Vec<(Quantity, Tensor)>, EngineError> {
        let wanted = WantedParameters::new(request, &self.model)?;
        let values = wanted.found(left.shown_to(&request.capture))?;
        self.last_pass.keep(left);
        Ok(values)
    }

    fn answer_here(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        let inputs = Inputs::new(&request.inputs)?;
        let Some(generate) = &request.generate else {
            let mut own = KvCache::new();
            let cache = (!request.chunks.is_empty()).then_some(&mut own);
            let pass = self.pass(request, &inputs, cache)?;
            return answer(request, &inputs, pass);
        };
        generation::check(&self.model, request, generate, &inputs)?;
        let mut own = KvCache::new();
        let mut cache = generate.use_cache.then_some(&mut own);
        let pass = self.pass(request, &inputs, cache.as_deref_mut())?;
        let first = pass.logits.edited.clone();
        let mut trace = answer(request, &inputs, pass)?;
        if request.capture.contains(&Quantity::Generated) {
            let tokens = self.continued(generate, inputs, cache, first)?;
            trace.values.insert(Quantity::Generated, tokens);
        }
        Ok(trace)
    }

    /// Answers one request on the positions that follow those of `cache`, and adds them to it. What the request says of
    /// positions is of its own; the scores and patterns of attention have the cached keys before them.
    ///
    /// # Errors
    /// As [`Bridge::run`], or if the cache is of another batch or model.
    pub fn run_with_past_kv_cache(
        &self,
        request: &TraceRequest,
        cache: &mut KvCache,
    ) -> Result<Trace, EngineError> {
        refuse_unanswerable(request)?;
        if request.generate.is_some() {
            return Err(EngineError::Unanswerable(
                "generation from a past".to_owned(),
            ));
        }
        if is_differentiated(request)? {
            return Err(EngineError::Unanswerable(
                "a gradient through a past".to_owned(),
            ));
        }
        let bridge = self.for_request(request)?;
        let inputs = Inputs::new(&request.inputs)?;
        let pass = bridge.pass(request, &inputs, Some(cache))?;
        answer(request, &inputs, pass)
    }

    /// All positions, at once or in the pieces that the request wants.
    fn pass(
        &self,
        request: &TraceRequest,
        inputs: &Inputs,
        cache: Option<&mut KvCache>,
    ) -> Result<Pass, EngineError> {
        match cache {
            Some(_) if self.model.sees_ahead => Err(EngineError::Unanswerable(
                "a run in pieces through attention that sees ahead".to_owned(),
            )),
            Some(cache) if !request.chunks.is_empty() => self.in_pieces(request, inputs, cache),
            cache => self.forward(request, inputs, cache),
        }
    }

    /// One pass from tokens to logits.
    fn forward(
        &self,
        request: &TraceRequest,
        inputs: &Inputs,
        mut cache: Option<&mut KvCache>,
    ) -> Result<Pass, EngineError> {
        let model = &*self.model;
        if let Some(cache) = &cache {
            cache.check(inputs)?;
        }
        let computed = model.precision.computed();
        let mut probe = Probe::new(request, &model.hooks, computed, self.calls.as_ref())?;
        let parameters = WantedParameters::new(request, model)?;
        let past = cache.as_deref_mut();
        let mut run = Run::new(inputs, &mut probe, model.precision, self.arithmetic, past);
        run.deviation = self.deviation;
        if is_differentiated(request)? {
            run.tape = Some(parameters.tape(computed)?);
        }
        let mut logits = model.forward(&mut run)?;
        let tape = run.tape.take();
        if tape.is_some() {
            backward(request, &logits.edited, inputs)?;
            logits = logits.detached();
        }
        let mut values = probe.finish()?;
        if let Some(tape) = tape.filter(|_| !parameters.is_empty()) {
            let left = Left::new(self.runner(), request, tape.finish());
            values.extend(self.shown_of(left, request)?);
        }
        if let Some(cache) = cache {
            cache.advance(inputs);
        }
        Ok(Pass { values, logits })
    }
}

/// What a pass shows.
struct Pass {
    values: BTreeMap<Quantity, Tensor>,
    logits: Logits,
}

/// The pass's values with what is computed from its logits.
fn answer(request: &TraceRequest, inputs: &Inputs, pass: Pass) -> Result<Trace, EngineError> {
    let Pass { mut values, logits } = pass;
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
        let (per_token, mean) = next_token_loss(&logits.edited, inputs)?;
        values.insert(Quantity::LossPerToken, per_token);
        values.insert(Quantity::Loss, mean);
        values.retain(|quantity, _| asked(quantity));
    }
    Ok(Trace {
        values,
        floors: BTreeMap::new(),
    })
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
    if request.gradients.is_some() {
        let what = match (request.chunks.is_empty(), &request.generate) {
            (false, _) => Some("a gradient in chunks"),
            (true, Some(_)) => Some("a gradient of a generation"),
            (true, None) => None,
        };
        if let Some(what) = what {
            return Err(EngineError::Unanswerable(what.to_owned()));
        }
    }
    if request.generate.is_none() && request.capture.contains(&Quantity::Generated) {
        return Err(EngineError::request(
            "generated",
            "a request to generate",
            "none",
        ));
    }
    Ok(())
}
