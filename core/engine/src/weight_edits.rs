//! Edits of weights, for one question alone.
//!
//! An edit makes another spec and other parameters, which share what they do not change; so there is nothing to restore.

use tlbench_sdk::{Intervention, Target, Tensor, TraceRequest};

use crate::canonical_weights::CanonicalWeights;
use crate::convert::{from_candle, to_candle};
use crate::edit::edited;
use crate::error::EngineError;

/// Whether the request edits a weight.
pub(crate) fn edits_weights(request: &TraceRequest) -> bool {
    let mut edits = request.interventions.iter();
    edits.any(|edit| matches!(edit.target, Target::Weight(_)))
}

/// The weights with the request's edits, in order.
///
/// The name of a canonical weight means what that one component takes: a head that is tied to the embedding keeps its
/// own. The name of a checkpoint tensor means the tensor, and so all that is cut from it.
pub(crate) fn edit_weights(
    weights: &CanonicalWeights,
    request: &TraceRequest,
) -> Result<CanonicalWeights, EngineError> {
    let mut weights = weights.clone();
    for edit in &request.interventions {
        if let Target::Weight(name) = &edit.target {
            edit_one(&mut weights, name, edit, request)?;
        }
    }
    Ok(weights)
}

fn edit_one(
    weights: &mut CanonicalWeights,
    name: &str,
    edit: &Intervention,
    request: &TraceRequest,
) -> Result<(), EngineError> {
    let is_canonical = weights.spec.clone().take_canonical(name);
    let value = match weights.parameters.get(name) {
        Some(stored) if !is_canonical => from_candle(stored)?,
        _ => weights.get(name)?,
    };
    let edited = to_candle(&edited_weight(name, &value, edit, request)?)?;
    let edited = edited.to_dtype(weights.precision.computed())?;
    let edited = weights.precision.store(edited)?;
    weights.parameters.insert(name.to_owned(), edited);
    if is_canonical {
        weights.spec.take_canonical(name);
    }
    Ok(())
}

fn edited_weight(
    name: &str,
    value: &Tensor,
    edit: &Intervention,
    request: &TraceRequest,
) -> Result<Tensor, EngineError> {
    if edit.positions.is_some() {
        return Err(EngineError::request(
            name,
            "no positions, as a weight has none",
            "some",
        ));
    }
    let entries = value.shape().first().copied().unwrap_or(1);
    let rows = edit.rows.as_deref();
    if let Some(row) = rows.and_then(|rows| rows.iter().find(|&&row| row >= entries)) {
        return Err(EngineError::request(
            name,
            format!("rows below {entries}"),
            row.to_string(),
        ));
    }
    let is_chosen: Vec<bool> = (0..entries)
        .map(|row| rows.is_none_or(|rows| rows.contains(&row)))
        .collect();
    let width = (value.len() / entries.max(1)).max(1);
    let chosen = |index: usize| is_chosen[index / width];
    let values = edited(name, value, &edit.action, &request.operands, chosen)?;
    let elements = values.len();
    Tensor::from_vec(values, value.shape()).map_err(|error| {
        EngineError::request(name, format!("{elements} elements"), error.to_string())
    })
}
