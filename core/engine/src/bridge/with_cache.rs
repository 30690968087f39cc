//! A run that keeps what its hooks show.

use std::collections::BTreeMap;

use tlbench_sdk::{
    GradientRequest, HookPoint, INPUT_IDS, Objective, Quantity, Tensor, TensorMap, TraceRequest,
    layer_of,
};

use super::Bridge;
use crate::activation_cache::ActivationCache;
use crate::components::Run;
use crate::convert::from_candle;
use crate::error::EngineError;
use crate::hook_names::HookNames;
use crate::inputs::Inputs;
use crate::probe::Probe;

/// What [`Bridge::run_with_cache`] keeps, and how far it runs. By default everything that fires without being asked for,
/// to the end.
pub struct CacheOptions<'f> {
    names: HookNames<'f>,
    stop_at_layer: Option<isize>,
    objective: Option<Objective>,
    removes_batch_dim: bool,
}

impl Default for CacheOptions<'_> {
    fn default() -> Self {
        Self {
            names: HookNames::ungated(),
            stop_at_layer: None,
            objective: None,
            removes_batch_dim: false,
        }
    }
}

impl<'f> CacheOptions<'f> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps what these hooks show.
    #[must_use]
    #[doc(alias = "names_filter")]
    pub fn names(mut self, names: impl Into<HookNames<'f>>) -> Self {
        self.names = names.into();
        self
    }

    /// Stops before block `layer`; negative ones count from the end. The run gives the stream there instead of logits.
    #[must_use]
    pub fn stop_at_layer(mut self, layer: isize) -> Self {
        self.stop_at_layer = Some(layer);
        self
    }

    /// Keeps the gradient of `objective` at the same hooks as well, at the hook `NAME` under `NAME_grad`.
    #[must_use]
    pub fn incl_bwd(mut self, objective: Objective) -> Self {
        self.objective = Some(objective);
        self
    }

    /// Leaves the first dimension out of what is kept. The batch has to be of one row.
    #[must_use]
    pub fn remove_batch_dim(mut self) -> Self {
        self.removes_batch_dim = true;
        self
    }

    /// The layer to stop before.
    fn stop(&self, layers: usize) -> Result<Option<usize>, EngineError> {
        let Some(stop) = self.stop_at_layer else {
            return Ok(None);
        };
        let layer = if stop < 0 {
            layers.checked_add_signed(stop)
        } else {
            Some(stop.unsigned_abs())
        };
        match layer.filter(|&layer| layer <= layers) {
            Some(_) if self.objective.is_some() => Err(EngineError::Unanswerable(
                "a gradient of a run that stops before its logits".to_owned(),
            )),
            Some(layer) => Ok(Some(layer)),
            None => Err(EngineError::request(
                "stop_at_layer",
                format!("from -{layers} to {layers}"),
                stop.to_string(),
            )),
        }
    }
}

impl Bridge {
    /// Runs on `inputs`, and keeps what hooks show beside the logits, or the stream where the run stops.
    ///
    /// # Errors
    /// If the inputs or options are wrong.
    pub fn run_with_cache(
        &self,
        inputs: TensorMap,
        options: &CacheOptions<'_>,
    ) -> Result<(Tensor, ActivationCache), EngineError> {
        let mut request = TraceRequest::new(inputs, Vec::new());
        if options.removes_batch_dim {
            refuse_several_rows(&request)?;
        }
        let (output, values) = match options.stop(self.spec().layers.len())? {
            Some(layer) => {
                let hooks = before(self.hooks(), layer);
                let expected = format!("hooks of this model before layer {layer}");
                let names = options.names.among(hooks, &expected)?;
                request.capture = names.into_iter().map(Quantity::Hook).collect();
                self.stream_before(layer, &request)?
            }
            None => {
                let names = options.names.among(self.hooks(), "hooks of this model")?;
                if let Some(objective) = &options.objective {
                    let objective = objective.clone();
                    request.gradients = Some(GradientRequest { objective });
                    let gradients = names.iter().cloned().map(Quantity::HookGradient);
                    request.capture.extend(gradients);
                }
                request
                    .capture
                    .extend(names.into_iter().map(Quantity::Hook));
                self.logits_of(request)?
            }
        };
        let mut kept = TensorMap::new();
        for (quantity, mut value) in values {
            let name = match quantity {
                Quantity::Hook(name) => name,
                Quantity::HookGradient(name) => format!("{name}_grad"),
                _ => continue,
            };
            if options.removes_batch_dim {
                value = without_first_dim(&name, &value)?;
            }
            kept.insert(name, value);
        }
        Ok((output, ActivationCache::new(kept, self.spec())))
    }

    fn logits_of(
        &self,
        mut request: TraceRequest,
    ) -> Result<(Tensor, BTreeMap<Quantity, Tensor>), EngineError> {
        request.capture.push(Quantity::Logits);
        let mut values = self.run(&request)?.values;
        let logits = values.remove(&Quantity::Logits);
        let logits = logits.ok_or_else(|| EngineError::request("logits", "a value", "none"))?;
        Ok((logits, values))
    }

    /// The stream before block `layer`, with what hooks have shown on the way there.
    fn stream_before(
        &self,
        layer: usize,
        request: &TraceRequest,
    ) -> Result<(Tensor, BTreeMap<Quantity, Tensor>), EngineError> {
        let model = &*self.model;
        let inputs = Inputs::new(&request.inputs)?;
        let mut probe = Probe::new(request, &model.hooks, model.precision.computed(), None)?;
        let mut run = Run::new(&inputs, &mut probe, model.precision, self.arithmetic, None);
        run.deviation = self.deviation;
        let stream = from_candle(&model.stream_before(layer, &mut run)?)?;
        Ok((stream, probe.finish()?))
    }
}

/// The hooks that fire before those of block `layer`, and of what follows the last block.
fn before(hooks: &[HookPoint], layer: usize) -> &[HookPoint] {
    let is_before = |hook: &HookPoint| match layer_of(&hook.name) {
        Some(index) => index < layer,
        None => ["embed", "pos_embed", "embed.ln"].contains(&hook.component()),
    };
    let end = hooks.iter().position(|hook| !is_before(hook));
    &hooks[..end.unwrap_or(hooks.len())]
}

fn refuse_several_rows(request: &TraceRequest) -> Result<(), EngineError> {
    match request.shape() {
        [0 | 1, _] => Ok(()),
        [batch, _] => Err(EngineError::request(
            INPUT_IDS,
            "one row, to remove the batch dimension",
            batch.to_string(),
        )),
    }
}

fn without_first_dim(name: &str, value: &Tensor) -> Result<Tensor, EngineError> {
    let shape = value.shape();
    let rest = shape.get(1..).unwrap_or_default();
    let wrong = || EngineError::request(name, "a batch of one row", format!("shape {shape:?}"));
    value.reshaped(rest).map_err(|_| wrong())
}
