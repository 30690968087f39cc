//! Requests for weights and nothing else.

use std::collections::BTreeMap;

use tlbench_sdk::{Quantity, Trace, TraceRequest};

use super::Bridge;
use crate::error::EngineError;
use crate::inputs::Inputs;

impl Bridge {
    /// Answers a request for the weights of these names. Nothing runs.
    pub(super) fn show_weights(
        &self,
        request: &TraceRequest,
        names: &[&str],
    ) -> Result<Trace, EngineError> {
        Inputs::new(&request.inputs)?;
        let weights = self.processed.shown_after(&request.processing, names)?;
        Ok(Trace {
            values: request.capture.iter().cloned().zip(weights).collect(),
            floors: BTreeMap::new(),
        })
    }
}

/// The names of the weights that a request is for, if it is for no more than weights as they are.
pub(super) fn names(request: &TraceRequest) -> Option<Vec<&str>> {
    let TraceRequest {
        inputs: _,
        processing: _,
        evaluation: _,
        truth: _,
        operands: _,
        capture,
        chunks,
        gradients,
        interventions,
        generate,
    } = request;
    let runs = !chunks.is_empty() || gradients.is_some() || generate.is_some();
    if runs || !interventions.is_empty() || capture.is_empty() {
        return None;
    }
    let names = capture.iter().map(|quantity| match quantity {
        Quantity::Weight(name) => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}
