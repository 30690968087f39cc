//! From tokens and positions to the stream.

use candle_core::Tensor;
use tlbench_sdk::spec::{Cut, EmbeddingScale, EmbeddingSpec, PositionTable};
use tlbench_sdk::{INPUT_IDS, POSITION_IDS};

use super::{Norm, Run};
use crate::error::EngineError;
use crate::precision::Precision;
use crate::weights::{Loader, Part};

/// Token embedding, scaled and normed, and learned positions.
pub(crate) struct Embedding {
    tokens: Part,
    scale: Option<EmbeddingScale>,
    norm: Option<Norm>,
    positions: Option<Positions>,
}

struct Positions {
    /// `[n_ctx, d_model]`: the rows from the offset on.
    table: Part,
}

impl Embedding {
    pub(crate) fn load(
        loader: &Loader<'_>,
        spec: &EmbeddingSpec,
        d_vocab: usize,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        // Rows are gathered at every step: a transposed table is put in order once.
        let tokens = loader
            .part("embed.weight", &spec.tokens, &[d_vocab, d_model])?
            .contiguous()?;
        let positions = spec
            .positions
            .as_ref()
            .map(|positions| Positions::load(loader, positions, d_model))
            .transpose()?;
        let norm = match &spec.norm {
            Some(norm) => Some(Norm::load(loader, "embed.ln", norm, d_model)?),
            None => None,
        };
        Ok(Self {
            tokens,
            scale: spec.scale.clone(),
            norm,
            positions,
        })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor, EngineError> {
        let mut embed = gather(run, &self.tokens, INPUT_IDS)?;
        if let Some(scale) = &self.scale {
            let scaled = embed.affine(factor(scale, run.precision), 0.0)?;
            embed = run.precision.store(scaled)?;
        }
        if let Some(norm) = &self.norm {
            embed = norm.forward(run, &embed)?;
        }
        let embed = run.hook("hook_embed", embed)?;
        let Some(positions) = &self.positions else {
            return Ok(embed);
        };
        let pos_embed = gather(run, &positions.table, POSITION_IDS)?;
        let pos_embed = run.hook("hook_pos_embed", pos_embed)?;
        Ok((embed + pos_embed)?)
    }
}

impl Positions {
    fn load(
        loader: &Loader<'_>,
        spec: &PositionTable,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let shape = spec.table.cut_shape().unwrap_or_default();
        let rows = shape.first().copied().unwrap_or(0);
        let table = loader.part("pos_embed.weight", &spec.table, &[rows, d_model])?;
        let left = rows
            .checked_sub(spec.offset)
            .filter(|&left| left > 0)
            .ok_or_else(|| {
                EngineError::request(
                    "pos_embed",
                    format!("more than {} rows", spec.offset),
                    rows.to_string(),
                )
            })?;
        Ok(Self {
            table: table
                .cut(&Cut::Slice {
                    dim: 0,
                    start: spec.offset,
                    len: left,
                })?
                .contiguous()?,
        })
    }
}

/// The number that the embedding is multiplied by.
fn factor(scale: &EmbeddingScale, precision: Precision) -> f64 {
    match scale.rounded_to_weights {
        true => precision.nearest(scale.value),
        false => scale.value,
    }
}

/// The rows of `table` that the input `name` asks for.
fn gather(run: &Run<'_, '_>, table: &Part, name: &str) -> Result<Tensor, EngineError> {
    let values = if name == INPUT_IDS {
        &run.inputs.input_ids
    } else {
        &run.inputs.position_ids
    };
    let indices = run.inputs.indices(name, values, table.values.dim(0)?)?;
    let rows = table.values.index_select(&indices, 0)?;
    let rows = rows.reshape((run.inputs.batch, run.inputs.pos, table.values.dim(1)?))?;
    match &run.tape {
        Some(tape) => Ok(tape.rows(&rows, table, &indices)?),
        None => Ok(rows),
    }
}
