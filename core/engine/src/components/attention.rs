//! Softmax attention, with its hooks.

mod head_norm;
mod projection;
mod sharing;

use candle_core::Tensor;
use tlbench_sdk::Deviation;
use tlbench_sdk::spec::{AlibiSpec, AttentionSpec, Mask, NormOrder, PositionSpec, RotarySpec};

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::Loader;
use head_norm::{QkNorm, Side};
use projection::Projection;
use sharing::Sharing;

/// Multi-head attention, with any number of key and value heads.
pub(crate) struct Attention {
    name: String,
    layer: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    q: Projection,
    k: Projection,
    v: Projection,
    o: Linear,
    norm: Option<QkNorm>,
    clip: Option<f64>,
    position: Position,
    scale: f64,
    softcap: Option<f64>,
    mask: Mask,
}

/// What queries, keys and values are made from.
pub(crate) enum AttentionInput {
    /// `[batch, pos, d_model]`, one for all.
    Shared(Tensor),
    /// `[batch, pos, heads, d_model]`, one per head, for each of the three.
    PerHead([Tensor; 3]),
}

/// What tells positions apart inside attention.
enum Position {
    None,
    Rotary(RotarySpec),
    Alibi(AlibiSpec),
}

impl Attention {
    pub(crate) fn load(
        loader: &Loader<'_>,
        layer: usize,
        spec: &AttentionSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let name = &format!("blocks.{layer}.attn");
        check(name, spec)?;
        let projection = |letter: &str, projection, heads| {
            Projection::load(
                loader,
                name,
                letter,
                projection,
                [heads, spec.d_head, d_model],
            )
        };
        let width = spec.n_heads * spec.d_head;
        Ok(Self {
            name: name.clone(),
            layer,
            n_heads: spec.n_heads,
            n_kv_heads: spec.n_kv_heads,
            q: projection("q", &spec.q, spec.n_heads)?,
            k: projection("k", &spec.k, spec.n_kv_heads)?,
            v: projection("v", &spec.v, spec.n_kv_heads)?,
            o: loader.linear(&format!("{name}.o"), &spec.o, d_model, width)?,
            norm: match &spec.qk_norm {
                Some(norms) => Some(QkNorm::load(loader, name, spec, norms)?),
                None => None,
            },
            clip: spec.clip_qkv,
            position: Position::of(name, &spec.position)?,
            scale: spec.scale,
            softcap: spec.softcap,
            mask: spec.mask,
        })
    }

    /// `[batch, pos, d_model]`: what is added to the stream.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        input: &AttentionInput,
    ) -> Result<Tensor, EngineError> {
        let [q_input, k_input, v_input] = input.each();
        let q = self.q.forward(run, q_input)?;
        let k = self.k.forward(run, k_input)?;
        let v = self.v.forward(run, v_input)?;
        let q = self.placed(run, &q, Side::Query)?;
        let k = self.placed(run, &k, Side::Key)?;
        let v = self.clipped(run, v)?;
        let (k, v) = run.with_past(self.layer, by_head(&k)?, by_head(&v)?)?;
        let (q, k) = self.shown(run, q, k)?;
        let z = self.mix(run, &by_head(&q)?, &k, &v)?;
        self.output(run, &z)
    }

    /// Queries or keys `[batch, pos, heads, d_head]`, normed, clipped and rotated.
    fn placed(&self, run: &mut Run<'_, '_>, x: &Tensor, side: Side) -> Result<Tensor, EngineError> {
        let Some(norm) = &self.norm else {
            let x = self.clipped(run, x.clone())?;
            return self.rotated(run, x);
        };
        match norm.order {
            NormOrder::BeforeRotary => {
                let x = norm.forward(run, x, side)?;
                let x = self.clipped(run, x)?;
                self.rotated(run, x)
            }
            NormOrder::AfterRotary => {
                let x = self.clipped(run, x.clone())?;
                let x = self.rotated(run, x)?;
                norm.forward(run, &x, side)
            }
        }
    }

    fn clipped(&self, run: &Run<'_, '_>, x: Tensor) -> Result<Tensor, EngineError> {
        match self.clip {
            Some(limit) => Ok(run.precision.store(ops::clip(&x, limit)?)?),
            None => Ok(x),
        }
    }

    fn rotated(&self, run: &mut Run<'_, '_>, x: Tensor) -> Result<Tensor, EngineError> {
        let Position::Rotary(spec) = &self.position else {
            return Ok(x);
        };
        let rotation = run.rotation(spec)?;
        Ok(run.precision.store(ops::rotate(&x, &rotation)?)?)
    }

    /// Shows the queries `[batch, pos, n_heads, d_head]` and all keys `[batch, n_kv_heads, key_pos, d_head]`, those of
    /// the past included, as the scores take them.
    fn shown(
        &self,
        run: &mut Run<'_, '_>,
        q: Tensor,
        k: Tensor,
    ) -> Result<(Tensor, Tensor), EngineError> {
        let Position::Rotary(_) = self.position else {
            return Ok((q, k));
        };
        let q = run.hook(&self.hook("hook_rot_q"), q)?;
        let name = self.hook("hook_rot_k");
        if !run.probe.looks_at(&name) {
            return Ok((q, k));
        }
        let k = run.hook(&name, by_head(&k)?)?;
        Ok((q, by_head(&k)?))
    }

    /// From queries `[batch, n_heads, pos, d_head]`, keys and values `[batch, n_kv_heads, key_pos, d_head]` to
    /// `z [batch, pos, n_heads, d_head]`.
    fn mix(
        &self,
        run: &mut Run<'_, '_>,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let sharing = self.sharing(run);
        let scores = run.arithmetic.matmul(&sharing.grouped(q)?, &k.t()?)?;
        let scores = self.masked(run, &sharing.ungrouped(&scores)?)?;
        let scores = run.narrowed(Deviation::ScoresInF16, scores)?;
        let scores = run.hook(&self.hook("hook_attn_scores"), scores)?;
        let pattern = run.hook(&self.hook("hook_pattern"), ops::softmax(&scores)?)?;
        let z = run
            .arithmetic
            .matmul(&sharing.grouped(&pattern.contiguous()?)?, v)?;
        run.hook(&self.hook("hook_z"), by_head(&sharing.ungrouped(&z)?)?)
    }

    /// Products of queries and keys as scores: scaled, capped, biased, and hidden from one another.
    fn masked(&self, run: &mut Run<'_, '_>, products: &Tensor) -> Result<Tensor, EngineError> {
        let visible = run.visible(self.mask);
        let (products, key_bias) = match &self.position {
            // The product, its scale and the bias are one operation in torch.
            Position::Alibi(spec) => (products.clone(), Some(run.alibi(spec)?)),
            Position::None | Position::Rotary(_) => (run.precision.store(products.clone())?, None),
        };
        let scoring = ops::Scoring {
            scale: self.scale,
            softcap: self.softcap,
            key_bias,
        };
        Ok(ops::mask_scores(&products, scoring, &visible)?)
    }

    /// Which queries each key head serves.
    fn sharing(&self, run: &Run<'_, '_>) -> Sharing {
        Sharing {
            heads: self.n_heads,
            kv_heads: self.n_kv_heads,
            tiled: run.deviates(Deviation::TiledKvHeads),
        }
    }

    fn output(&self, run: &mut Run<'_, '_>, z: &Tensor) -> Result<Tensor, EngineError> {
        let hook = self.hook("hook_result");
        if run.probe.looks_at(&hook) {
            let result = self.o.result_per_head(run, z)?;
            let result = run.hook(&hook, result)?;
            if run.probe.is_passed_through(&hook) {
                return Ok(self.o.shifted(run, &result.sum(2)?)?);
            }
        }
        Ok(self.o.forward(run, &z.flatten_from(2)?)?)
    }

    fn hook(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

impl Position {
    fn of(name: &str, spec: &PositionSpec) -> Result<Self, EngineError> {
        match spec {
            PositionSpec::None => Ok(Self::None),
            PositionSpec::Rotary(rotary) => Ok(Self::Rotary(rotary.clone())),
            PositionSpec::Alibi(alibi) => Ok(Self::Alibi(alibi.clone())),
            PositionSpec::RelativeBias(_) => Err(EngineError::not_implemented(
                name,
                "a learned bias per distance",
            )),
        }
    }
}

/// Refuses what the engine does not have, and counts that do not fit each other.
fn check(name: &str, spec: &AttentionSpec) -> Result<(), EngineError> {
    if spec.sinks.is_some() {
        return Err(EngineError::not_implemented(name, "a sink per head"));
    }
    let (heads, kv_heads) = (spec.n_heads, spec.n_kv_heads);
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a multiple of n_kv_heads = {kv_heads}");
        let field = format!("{name}: n_heads");
        return Err(EngineError::request(field, expected, heads.to_string()));
    }
    match &spec.position {
        PositionSpec::Alibi(alibi) if alibi.slopes.len() != heads => Err(EngineError::request(
            format!("{name}: slopes"),
            heads.to_string(),
            alibi.slopes.len().to_string(),
        )),
        PositionSpec::Rotary(rotary)
            if !rotary.dim.is_multiple_of(2) || rotary.dim > spec.d_head =>
        {
            Err(EngineError::request(
                format!("{name}: rotary dim"),
                format!("an even number up to d_head = {}", spec.d_head),
                rotary.dim.to_string(),
            ))
        }
        _ => Ok(()),
    }
}

/// Between `[batch, pos, heads, _]`, as hooks show it, and `[batch, heads, pos, _]`, as it is multiplied.
fn by_head(x: &Tensor) -> Result<Tensor, EngineError> {
    Ok(x.transpose(1, 2)?.contiguous()?)
}
