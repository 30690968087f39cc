//! Edits of weights, for one question alone.
//!
//! An edit makes another spec and other parameters, which share what they do not change; so there is nothing to restore.

use tlbench_sdk::{Intervention, Target, TraceRequest};

use crate::canonical_weights::CanonicalWeights;
use crate::edit::{Edit, Edited};
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
    let value = weights.view(name)?;
    if edit.positions.is_some() {
        return Err(EngineError::request(
            name,
            "no positions, as a weight has none",
            "some",
        ));
    }
    let shape = value.dims().to_vec();
    let edited = Edited {
        name,
        shape: &shape,
        position_axis: None,
        dtype: value.dtype(),
    };
    let edited = Edit::new(edit, &request.operands, edited)?.apply(&value)?;
    let edited = weights.precision.store(edited)?;
    weights.parameters.insert(name.to_owned(), edited);
    if is_canonical {
        weights.spec.take_canonical(name);
    }
    Ok(())
}
