//! A run in pieces: each goes through the cache that the ones before it have filled.

use std::ops::Range;

use candle_core::{Device, Tensor as CandleTensor};
use tlbench_sdk::{
    Action, Dim, HookPoint, Intervention, Quantity, Target, Tensor, TensorMap, TraceRequest,
    short_name,
};

use super::{Bridge, Pass};
use crate::cache::KvCache;
use crate::components::Logits;
use crate::convert::{from_candle, to_candle};
use crate::error::EngineError;
use crate::inputs::Inputs;

impl Bridge {
    /// What the pieces show, as one pass over all positions would.
    pub(super) fn in_pieces(
        &self,
        request: &TraceRequest,
        inputs: &Inputs,
        cache: &mut KvCache,
    ) -> Result<Pass, EngineError> {
        let whole = Whole {
            request,
            hooks: &self.model.hooks,
            batch: inputs.batch,
            past: cache.len(),
            pos: inputs.pos,
        };
        whole.check()?;
        let mut passes = Vec::with_capacity(request.chunks.len());
        for range in ranges(&request.chunks, inputs.pos)? {
            let piece = whole.piece(&range)?;
            passes.push(self.forward(&piece, &inputs.piece(range), Some(&mut *cache))?);
        }
        whole.joined(&passes)
    }
}

/// The positions of each piece.
fn ranges(lengths: &[usize], pos: usize) -> Result<Vec<Range<usize>>, EngineError> {
    let expected = |expected: String| {
        let found = format!("{lengths:?}");
        Err(EngineError::request("chunks", expected, found))
    };
    if lengths.contains(&0) {
        return expected("pieces of at least one position".to_owned());
    }
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let start = ranges.last().map_or(0, |range| range.end);
        ranges.push(start..start.saturating_add(length));
    }
    match ranges.last() {
        Some(last) if last.end == pos => Ok(ranges),
        _ => expected(format!("lengths that sum to {pos}")),
    }
}

/// A request, and the sizes of a run that answers it at once.
struct Whole<'a> {
    request: &'a TraceRequest,
    hooks: &'a [HookPoint],
    batch: usize,
    past: usize,
    pos: usize,
}

impl Whole<'_> {
    /// Refuses the edits that a piece cannot make as the whole would.
    fn check(&self) -> Result<(), EngineError> {
        for edit in &self.request.interventions {
            let Target::Hook(name) = &edit.target else {
                continue;
            };
            // An edit may show keys to queries before them, and those are not there yet.
            let sees_keys = self.hook(name).is_some_and(|hook| key_axis(hook).is_some());
            if sees_keys {
                return Err(EngineError::Unanswerable(format!(
                    "an edit of `{name}` in chunks"
                )));
            }
            if let Action::Perturb { .. } = edit.action {
                return Err(EngineError::Unanswerable(
                    "a perturbation in chunks".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// The part of the request that is about the positions in `range`, without its inputs.
    fn piece(&self, range: &Range<usize>) -> Result<TraceRequest, EngineError> {
        let mut piece = TraceRequest {
            inputs: TensorMap::new(),
            chunks: Vec::new(),
            interventions: Vec::new(),
            operands: TensorMap::new(),
            truth: TensorMap::new(),
            ..self.request.clone()
        };
        for edit in &self.request.interventions {
            let edit = self.piece_of_edit(edit, range, &mut piece.operands)?;
            piece.interventions.push(edit);
        }
        for (name, tensor) in &self.request.truth {
            let tensor = match self.hook(name) {
                Some(hook) => self.piece_of_value(hook, tensor, range)?,
                None => tensor.clone(),
            };
            piece.truth.insert(name.clone(), tensor);
        }
        Ok(piece)
    }

    /// The edit with positions counted from the piece's first, and an operand of its own among `operands`.
    fn piece_of_edit(
        &self,
        edit: &Intervention,
        range: &Range<usize>,
        operands: &mut TensorMap,
    ) -> Result<Intervention, EngineError> {
        let mut edit = edit.clone();
        let Target::Hook(name) = &edit.target else {
            return Ok(edit);
        };
        let Some(hook) = self.hook(name) else {
            return Ok(edit);
        };
        if let Some(positions) = &mut edit.positions {
            if let Some(outside) = positions.iter().find(|&&position| position >= self.pos) {
                return Err(EngineError::request(
                    name,
                    format!("an index below {}", self.pos),
                    outside.to_string(),
                ));
            }
            positions.retain(|position| range.contains(position));
            for position in positions {
                *position -= range.start;
            }
        }
        let tensor = |operand: &str| {
            let tensor = self.request.operands.get(operand);
            tensor.ok_or_else(|| EngineError::request(operand, "an operand", "nothing"))
        };
        // Operands of one name may have to be cut along different dimensions.
        let own = |operand: &mut String, tensor: Tensor, operands: &mut TensorMap| {
            *operand = format!("{operand} at {}", operands.len());
            operands.insert(operand.clone(), tensor);
        };
        match &mut edit.action {
            Action::Add { operand } => {
                let tensor = self.piece_of_summand(hook, tensor(operand)?, range)?;
                own(operand, tensor, operands);
            }
            Action::Replace { operand } => {
                let tensor = self.piece_of_value(hook, tensor(operand)?, range)?;
                own(operand, tensor, operands);
            }
            Action::Zero | Action::Scale { .. } | Action::Perturb { .. } => {}
        }
        Ok(edit)
    }

    /// What stands in for a value at `hook`.
    fn piece_of_value(
        &self,
        hook: &HookPoint,
        tensor: &Tensor,
        range: &Range<usize>,
    ) -> Result<Tensor, EngineError> {
        let shape = self.shape(hook);
        if tensor.shape() != shape {
            return Err(EngineError::request(
                &hook.name,
                format!("shape {shape:?}"),
                format!("{:?}", tensor.shape()),
            ));
        }
        self.cut(&hook.shape, tensor, range)
    }

    /// What is added to a value at `hook`, broadcast from the right.
    fn piece_of_summand(
        &self,
        hook: &HookPoint,
        tensor: &Tensor,
        range: &Range<usize>,
    ) -> Result<Tensor, EngineError> {
        let shape = self.shape(hook);
        let skipped = shape.len().checked_sub(tensor.shape().len());
        let broadcasts = |skipped: &usize| {
            let sizes = tensor.shape().iter().zip(&shape[*skipped..]);
            sizes
                .into_iter()
                .all(|(&size, &whole)| size == 1 || size == whole)
        };
        match skipped.filter(broadcasts) {
            Some(skipped) => self.cut(&hook.shape[skipped..], tensor, range),
            None => Err(EngineError::request(
                &hook.name,
                format!("an operand that broadcasts to {shape:?}"),
                format!("shape {:?}", tensor.shape()),
            )),
        }
    }

    /// The part of `tensor` at the positions in `range`, and at the keys up to the last of them.
    fn cut(
        &self,
        dims: &[Dim],
        tensor: &Tensor,
        range: &Range<usize>,
    ) -> Result<Tensor, EngineError> {
        let mut cut = to_candle(tensor)?;
        for (axis, dim) in dims.iter().enumerate() {
            cut = match dim {
                Dim::Pos if cut.dim(axis)? == self.pos => {
                    cut.narrow(axis, range.start, range.len())?
                }
                Dim::KeyPos if cut.dim(axis)? == self.past + self.pos => {
                    cut.narrow(axis, 0, self.past + range.end)?
                }
                _ => cut,
            };
        }
        from_candle(&cut)
    }

    /// The pieces' values one behind the other.
    fn joined(&self, passes: &[Pass]) -> Result<Pass, EngineError> {
        let first = passes.first().map(|pass| pass.values.keys());
        let values = first.into_iter().flatten().map(|quantity| {
            let pieces: Vec<&Tensor> = passes
                .iter()
                .filter_map(|pass| pass.values.get(quantity))
                .collect();
            Ok((quantity.clone(), self.joined_value(quantity, &pieces)?))
        });
        let logits = |of: fn(&Logits) -> &CandleTensor| {
            let pieces: Vec<&CandleTensor> = passes.iter().map(|pass| of(&pass.logits)).collect();
            CandleTensor::cat(&pieces, 1)
        };
        Ok(Pass {
            values: values.collect::<Result<_, EngineError>>()?,
            logits: Logits {
                computed: logits(|logits| &logits.computed)?,
                edited: logits(|logits| &logits.edited)?,
            },
        })
    }

    /// One value of the length of all pieces; the keys that a piece did not have are masked.
    fn joined_value(&self, quantity: &Quantity, pieces: &[&Tensor]) -> Result<Tensor, EngineError> {
        let hook = quantity.as_hook().and_then(|name| self.hook(name));
        let (axis, keys) =
            hook.map_or((None, None), |hook| (axis(hook, &Dim::Pos), key_axis(hook)));
        if let (None, Some(_), Some(last)) = (axis, keys, pieces.last()) {
            // Keys alone: the last piece has all of them.
            return Ok((*last).clone());
        }
        let Some(axis) = axis else {
            return Err(EngineError::Unanswerable(format!("`{quantity}` in chunks")));
        };
        let hidden = match quantity.as_hook().map(short_name) {
            Some("attn.hook_attn_scores") => f64::NEG_INFINITY,
            _ => 0.0,
        };
        let pieces = pieces.iter().map(|piece| {
            let piece = to_candle(piece)?;
            match keys {
                Some(keys) => padded(&piece, keys, self.past + self.pos, hidden),
                None => Ok(piece),
            }
        });
        let pieces: Vec<CandleTensor> = pieces.collect::<Result<_, EngineError>>()?;
        from_candle(&CandleTensor::cat(&pieces, axis)?)
    }

    fn hook(&self, name: &str) -> Option<&HookPoint> {
        self.hooks.iter().find(|hook| hook.name == name)
    }

    fn shape(&self, hook: &HookPoint) -> Vec<usize> {
        hook.sizes_after(self.past, self.batch, self.pos)
    }
}

fn axis(hook: &HookPoint, wanted: &Dim) -> Option<usize> {
    hook.shape.iter().position(|dim| dim == wanted)
}

fn key_axis(hook: &HookPoint) -> Option<usize> {
    axis(hook, &Dim::KeyPos)
}

/// `tensor` with `fill` behind it along `axis`, up to `size`.
fn padded(
    tensor: &CandleTensor,
    axis: usize,
    size: usize,
    fill: f64,
) -> Result<CandleTensor, EngineError> {
    let mut shape = tensor.dims().to_vec();
    shape[axis] = size - shape[axis];
    let rest = CandleTensor::full(fill, shape, &Device::Cpu)?.to_dtype(tensor.dtype())?;
    Ok(CandleTensor::cat(&[tensor, &rest], axis)?)
}
