//! An open model: truth in f64, and floors from runs in f32.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::DType;
use tlbench_sdk::calibration::{Calibration, Computes, Precision, Values};
use tlbench_sdk::{
    HookPoint, ModelSpec, OpenRequest, PluginError, Processing, SourceInfo, Stimulus, Target,
    Trace, TraceRequest, TraceSource, hooks,
};

use crate::answer::Model;
use crate::backward::LastPasses;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::model::refuse_unimplemented;
use crate::one_thread::compute_in_one_thread;
use crate::order::Order;
use crate::packing::pack_matrices;
use crate::parameters::Parameters;
use crate::processing::process;
use crate::run::edited_weight;
use crate::run_weights::RunWeights;
use crate::stack::with_large_stack;

/// A model that answers.
pub(crate) struct Source {
    spec: ModelSpec,
    hooks: Vec<HookPoint>,
    checkpoint: Checkpoint,
    /// As they are stored.
    raw: Parameters,
    /// Those that the last question was about: what processing adds to the stored ones.
    processed: Mutex<Option<(Processing, Parameters)>>,
    passes: LastPasses,
    calibration: Calibration,
}

impl Source {
    pub(crate) fn open(request: &OpenRequest) -> Result<Self> {
        Self::new(&request.folder, request.spec.clone(), &request.stimuli)
    }

    /// The model in `folder`, which will be asked `stimuli` among others.
    pub(crate) fn new(folder: &Path, spec: ModelSpec, stimuli: &[Stimulus]) -> Result<Self> {
        refuse_unimplemented(&spec)?;
        compute_in_one_thread();
        pack_matrices();
        let checkpoint = Checkpoint::open(folder, &spec)?;
        let hooks = hooks(&spec);
        Ok(Self {
            calibration: Calibration::new(hooks.clone(), &checkpoint.tensors()?, stimuli),
            raw: checkpoint.parameters()?,
            hooks,
            spec,
            checkpoint,
            processed: Mutex::default(),
            passes: LastPasses::default(),
        })
    }

    /// The weights that `request` is about: edited as checkpoint tensors, processed, and edited as canonical weights.
    fn weights(&self, request: &TraceRequest) -> Result<Parameters> {
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
        let is_stored = |name: &str| self.checkpoint.cut_from(name).is_some();
        let mut weights = if edits().any(|(name, _)| is_stored(name)) {
            self.with_edited_tensors(request)?
        } else {
            self.unedited(&request.processing)?
        };
        for (name, edit) in edits().filter(|(name, _)| !is_stored(name)) {
            let edited = edited_weight(name, &weights.exact(name)?, edit, &request.operands)?;
            weights.set(name, edited);
        }
        Ok(weights)
    }

    /// The model with `weights`.
    fn with(&self, weights: &Parameters, dtype: DType, order: Order) -> Model<'_> {
        Model {
            spec: &self.spec,
            hooks: &self.hooks,
            checkpoint: &self.checkpoint,
            weights: RunWeights::new(weights.clone(), dtype),
            dtype,
            order,
        }
    }

    fn with_edited_tensors(&self, request: &TraceRequest) -> Result<Parameters> {
        let edited = self.checkpoint.with_edited_tensors(
            self.raw.clone(),
            &request.interventions,
            &request.operands,
        )?;
        process(&self.spec, edited, &request.processing)
    }

    /// The weights that `processing` makes.
    fn unedited(&self, processing: &Processing) -> Result<Parameters> {
        if processing.is_raw() {
            return Ok(self.raw.clone());
        }
        let mut last = lock(&self.processed);
        if let Some((of, weights)) = &*last
            && of == processing
        {
            return Ok(weights.clone());
        }
        let weights = process(&self.spec, self.raw.clone(), processing)?;
        *last = Some((processing.clone(), weights.clone()));
        Ok(weights)
    }
}

impl Computes for Source {
    type Model = Parameters;
    type Error = Error;

    fn model(&self, request: &TraceRequest) -> Result<Parameters> {
        self.weights(request)
    }

    fn run(
        &self,
        weights: &Parameters,
        request: &TraceRequest,
        precision: Precision,
    ) -> Result<Values> {
        let (dtype, order) = match precision {
            Precision::Exact => (DType::F64, Order::Whole),
            Precision::Rounded { pieces: 1 } => (DType::F32, Order::Whole),
            Precision::Rounded { pieces } => (DType::F32, Order::Pieces(pieces)),
        };
        let model = self.with(weights, dtype, order);
        if let Some(values) = self.passes.answer(&model, request, precision)? {
            return Ok(values);
        }
        let (values, pass) = model.answer(request)?;
        if let Some(pass) = pass {
            self.passes.keep(request, precision, pass);
        }
        Ok(values)
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
        let twice = |weights: Parameters| process(&self.spec, weights, processing);
        let weights = twice(self.raw.clone()).and_then(twice);
        let weight = weights.and_then(|weights| crate::convert::from_candle(&weights.exact(name)?));
        weight.unwrap()
    }

    /// The checkpoint's tensors.
    pub(crate) fn tensors(&self) -> Vec<tlbench_sdk::Parameter> {
        self.checkpoint.tensors().unwrap()
    }

    /// The hooks that fire for `request`, each time they do.
    pub(crate) fn fired(&self, request: &TraceRequest) -> Vec<String> {
        let weights = self.weights(request).unwrap();
        let inputs = crate::inputs::Inputs::new(&request.inputs).unwrap();
        let (pos, dtype) = (inputs.pos(), DType::F64);
        let mut probe = crate::run::Probe::new(request, &self.hooks, dtype, pos).unwrap();
        let mut cache = crate::cache::Cache::default();
        let model = self.with(&weights, dtype, Order::Whole);
        let _ = model
            .forward(&inputs, 0..pos, &mut cache, &mut probe)
            .unwrap();
        probe.fired.iter().map(|&name| name.to_owned()).collect()
    }
}

impl TraceSource for Source {
    fn info(&self) -> SourceInfo {
        let provenance = [("precision".to_owned(), self.calibration.precision())];
        SourceInfo {
            stimuli: Vec::new(),
            processes_weights: true,
            provenance: provenance.into(),
            firings: None,
        }
    }

    fn trace(&self, request: &TraceRequest) -> std::result::Result<Trace, PluginError> {
        Ok(with_large_stack(|| self.calibration.answer(self, request))?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
