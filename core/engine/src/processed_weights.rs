//! Processed models, made from the raw one when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use tlbench_sdk::{ModelSpec, Processing};

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

    /// The model after the steps of `further` as well. It is made from the raw one, so a step taken twice is taken once.
    pub(crate) fn after(&self, further: &Processing) -> Result<(Arc<Model>, Self), EngineError> {
        let processing: Processing = self.processing.steps().chain(further.steps()).collect();
        let model = self.model(&processing)?;
        let weights = Self {
            processing,
            ..self.clone()
        };
        Ok((model, weights))
    }

    fn model(&self, processing: &Processing) -> Result<Arc<Model>, EngineError> {
        if processing.is_raw() {
            return Ok(Arc::clone(&self.raw));
        }
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Latest { model, .. }) = latest
            .as_ref()
            .filter(|kept| kept.processing == *processing)
        {
            return Ok(Arc::clone(model));
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
}
