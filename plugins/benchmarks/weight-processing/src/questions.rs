//! Questions about weights.

use std::collections::BTreeSet;

use tlbench_sdk::{
    Mode, ModelInfo, PlannedRequest, PluginError, Processing, ProcessingStep, Quantity, Trace,
    TraceRequest,
};

use crate::expected::Raw;

/// Asks the subject for the weights of these names after `processing`. The input does not matter, so it is the shortest.
pub(crate) fn weights(
    model: &ModelInfo,
    processing: Processing,
    names: impl IntoIterator<Item = String>,
) -> Result<PlannedRequest, PluginError> {
    let shortest = model
        .stimuli
        .iter()
        .min_by_key(|stimulus| stimulus.request.shape().iter().product::<usize>());
    let shortest =
        shortest.ok_or_else(|| PluginError::unsupported("there is no input to ask on"))?;
    let names: BTreeSet<String> = names.into_iter().collect();
    let capture = names.into_iter().map(Quantity::Weight).collect();
    let request = TraceRequest::new(shortest.request.inputs.clone(), capture);
    Ok(PlannedRequest::subject(request.processed(processing)))
}

/// The weights of an answer.
pub(crate) fn weights_of(answer: &Trace) -> Raw {
    let weights = answer.values.iter().filter_map(|(quantity, tensor)| {
        let Quantity::Weight(name) = quantity else {
            return None;
        };
        Some((name.clone(), tensor.clone()))
    });
    weights.collect()
}

/// What a check is called that is about one combination of steps: `ln`, `ln.writing.unembed.values`.
pub(crate) fn variant(processing: &Processing) -> String {
    let names: Vec<&str> = processing.steps().map(short).collect();
    names.join(".")
}

const fn short(step: ProcessingStep) -> &'static str {
    match step {
        ProcessingStep::FoldLn => "ln",
        ProcessingStep::CenterWritingWeights => "writing",
        ProcessingStep::CenterUnembed => "unembed",
        ProcessingStep::FoldValueBiases => "values",
    }
}

/// Says that processed weights are looked at in compatibility mode alone.
pub(crate) fn in_compatibility_mode(model: &ModelInfo) -> Result<(), PluginError> {
    match model.mode {
        Mode::Compat if !model.processing.is_raw() => Ok(()),
        Mode::Compat => Err(PluginError::unsupported(
            "the architecture admits no step of weight processing",
        )),
        Mode::Raw => Err(PluginError::unsupported(
            "it is about processed weights: compatibility mode judges them",
        )),
    }
}
