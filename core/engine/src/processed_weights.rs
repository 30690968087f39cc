//! Processed models, made from the raw one when somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tlbench_sdk::{ModelSpec, Processing, Tensor};

use crate::error::EngineError;
use crate::model::Model;

/// The raw model, what was done to it, and the processed model that was made last. That one is kept and no other: the
/// weights of a model are most of what it needs of memory.
#[derive(Clone)]
pub(crate) struct ProcessedWeights {
    raw: Arc<Model>,
    processing: Processing,
    latest: Arc<Mutex<Option<Latest>>>,
}

struct Latest {
    processing: Processing,
    model: Arc<Model>,
}

impl Latest {
    /// The model, if it is that after `processing`.
    fn after(&self, processing: &Processing) -> Option<Arc<Model>> {
        (self.processing == *processing).then(|| Arc::clone(&self.model))
    }
}

impl ProcessedWeights {
    pub(crate) fn of(raw: Arc<Model>) -> Self {
        Self {
            raw,
            processing: Processing::raw(),
            latest: Arc::default(),
        }
    }

    pub(crate) fn raw_spec(&self) -> &ModelSpec {
        &self.raw.weights.spec
    }

    pub(crate) fn processing(&self) -> &Processing {
        &self.processing
    }

    /// What weights of these names are after the steps of `further` as well. Where no model has them yet, they alone are
    /// worked out, and the model that was made last stays.
    pub(crate) fn shown_after(
        &self,
        further: &Processing,
        names: &[&str],
    ) -> Result<Vec<Tensor>, EngineError> {
        let processing = self.with(further);
        match self.kept(&processing) {
            Some(model) => model.weights.shown(names),
            None => self.raw.weights.shown_after(&processing, names),
        }
    }

    /// The model after the steps of `further` as well. It is made from the raw one, so a step taken twice is taken once.
    pub(crate) fn after(&self, further: &Processing) -> Result<(Arc<Model>, Self), EngineError> {
        let processing = self.with(further);
        let model = self.model(&processing)?;
        let weights = Self {
            processing,
            ..self.clone()
        };
        Ok((model, weights))
    }

    fn with(&self, further: &Processing) -> Processing {
        self.processing.steps().chain(further.steps()).collect()
    }

    /// The model after `processing`, if there is one.
    fn kept(&self, processing: &Processing) -> Option<Arc<Model>> {
        if processing.is_raw() {
            return Some(Arc::clone(&self.raw));
        }
        self.latest().as_ref()?.after(processing)
    }

    fn model(&self, processing: &Processing) -> Result<Arc<Model>, EngineError> {
        if processing.is_raw() {
            return Ok(Arc::clone(&self.raw));
        }
        // Held until the model is there: who wants the same meanwhile waits for it.
        let mut latest = self.latest();
        if let Some(model) = latest.as_ref().and_then(|kept| kept.after(processing)) {
            return Ok(model);
        }
        // The old one goes before the new one is made, so that there are never three.
        *latest = None;
        let weights = self.raw.weights.processed(processing)?;
        let model = Arc::new(Model::assemble(weights)?);
        *latest = Some(Latest {
            processing: processing.clone(),
            model: Arc::clone(&model),
        });
        Ok(model)
    }

    fn latest(&self) -> MutexGuard<'_, Option<Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
