//! The answer to one question, in one precision and one order of summation.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use tlbench_sdk::calibration::Values;
use tlbench_sdk::{Evaluation, HookPoint, ModelSpec, Quantity, TraceRequest};

use crate::cache::Cache;
use crate::checkpoint::{Checkpoint, uncut};
use crate::convert::from_candle;
use crate::error::{Error, Result};
use crate::generate::generate;
use crate::inputs::Inputs;
use crate::model::{HookedTransformer, Logits};
use crate::objective::{log_softmax, mean, next_token_losses, scalar};
use crate::order::Order;
use crate::parameters::Parameters;
use crate::run::{Probe, Run};

/// A model with the weights that one question is about.
pub(crate) struct Model<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: Parameters,
    pub(crate) dtype: DType,
    pub(crate) order: Order,
}

impl Model<'_> {
    /// Everything that `request` asks for.
    pub(crate) fn answer(&self, request: &TraceRequest) -> Result<Values> {
        let inputs = Inputs::new(&request.inputs)?;
        let wanted = self.wanted_parameters(request)?;
        let (this, variables) = self.with_variables(wanted.values().flatten())?;
        let mut probe = Probe::new(request, this.hooks, this.dtype, inputs.pos())?;
        let logits = this.forward_in_pieces(request, &inputs, &mut probe)?;
        let mut values = Values::new();
        if let Some(gradients) = &request.gradients {
            let store = scalar(&gradients.objective, &logits.edited, &inputs)?.backward()?;
            for (name, canonical) in &wanted {
                let gradient = this.parameter_gradient(name, canonical, &variables, &store)?;
                let quantity = Quantity::ParameterGradient(name.clone());
                values.insert(quantity, from_candle(&gradient)?);
            }
        }
        values.extend(probe.finish()?);
        let shown = match request.evaluation {
            Evaluation::Local => &logits.computed,
            Evaluation::Cumulative => &logits.edited,
        };
        for quantity in &request.capture {
            if let Some(value) = this.output(quantity, &shown.detach(), &inputs, request)? {
                values.insert(quantity.clone(), value);
            }
        }
        Ok(values)
    }

    /// The logits of one piece.
    pub(crate) fn forward(
        &self,
        inputs: &Inputs,
        piece: Range<usize>,
        cache: &mut Cache,
        probe: &mut Probe<'_>,
    ) -> Result<Logits> {
        probe.enter(piece.clone());
        HookedTransformer::new(self.spec, &self.weights)?.forward(&mut Run {
            order: self.order,
            inputs,
            piece,
            cache,
            probe,
        })
    }

    fn forward_in_pieces(
        &self,
        request: &TraceRequest,
        inputs: &Inputs,
        probe: &mut Probe<'_>,
    ) -> Result<Logits> {
        let mut cache = Cache::default();
        let (mut computed, mut edited) = (Vec::new(), Vec::new());
        for piece in pieces(&request.chunks, inputs.pos())? {
            let logits = self.forward(inputs, piece, &mut cache, probe)?;
            computed.push(logits.computed);
            edited.push(logits.edited);
        }
        Ok(Logits {
            computed: Tensor::cat(&computed, 1)?,
            edited: Tensor::cat(&edited, 1)?,
        })
    }

    /// What is no hook and no gradient.
    fn output(
        &self,
        quantity: &Quantity,
        logits: &Tensor,
        inputs: &Inputs,
        request: &TraceRequest,
    ) -> Result<Option<tlbench_sdk::Tensor>> {
        let value = match quantity {
            Quantity::Logits => from_candle(logits)?,
            Quantity::LogProbs => from_candle(&log_softmax(logits)?)?,
            Quantity::LossPerToken | Quantity::Loss => {
                let losses = next_token_losses(&log_softmax(logits)?, inputs)?;
                match (losses, quantity) {
                    (Some(losses), Quantity::Loss) => from_candle(&mean(&losses, inputs)?)?,
                    (Some(losses), _) => from_candle(&losses)?,
                    (None, Quantity::Loss) => tlbench_sdk::Tensor::scalar(0.0),
                    (None, _) => {
                        tlbench_sdk::Tensor::from_vec::<f64>(vec![], &[inputs.batch(), 0])?
                    }
                }
            }
            Quantity::Generated => {
                let asked = request.generate.as_ref();
                let asked = asked
                    .ok_or_else(|| Error::request("generated", "a request to generate", "none"))?;
                generate(self, request, asked)?
            }
            Quantity::Weight(name) => from_candle(self.weights.get(name)?)?,
            Quantity::Hook(_) | Quantity::HookGradient(_) | Quantity::ParameterGradient(_) => {
                return Ok(None);
            }
        };
        Ok(Some(value))
    }

    /// The parameters whose gradients are shown, and the canonical weights by way of which they act.
    fn wanted_parameters(&self, request: &TraceRequest) -> Result<BTreeMap<String, Vec<String>>> {
        let mut wanted = BTreeMap::new();
        for quantity in &request.capture {
            let is_gradient = matches!(
                quantity,
                Quantity::HookGradient(_) | Quantity::ParameterGradient(_)
            );
            if is_gradient && request.gradients.is_none() {
                let name = quantity.to_string();
                return Err(Error::request(
                    name,
                    "something to differentiate",
                    "nothing",
                ));
            }
            let Quantity::ParameterGradient(name) = quantity else {
                continue;
            };
            let canonical = if request.processing.is_raw() {
                let weights = self.checkpoint.cut_from(name).ok_or_else(|| {
                    Error::request(name, "a checkpoint tensor that the model takes", "none")
                })?;
                weights.iter().map(|weight| weight.name.clone()).collect()
            } else {
                self.weights.get(name)?;
                vec![name.clone()]
            };
            wanted.insert(name.clone(), canonical);
        }
        Ok(wanted)
    }

    /// The same model with gradients by the weights `names`.
    fn with_variables<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
    ) -> Result<(Model<'_>, BTreeMap<String, Var>)> {
        let mut weights = self.weights.clone();
        let mut variables = BTreeMap::new();
        for name in names {
            let variable = Var::from_tensor(weights.get(name)?)?;
            weights.set(name, variable.as_tensor().clone());
            variables.insert(name.clone(), variable);
        }
        let model = Model { weights, ..*self };
        Ok((model, variables))
    }

    /// By a checkpoint tensor, the sum over all that is cut from it; by a canonical weight, its own.
    fn parameter_gradient(
        &self,
        name: &str,
        canonical: &[String],
        variables: &BTreeMap<String, Var>,
        store: &GradStore,
    ) -> Result<Tensor> {
        let gradient = |weight: &str| -> Result<Tensor> {
            let variable = &variables[weight];
            match store.get(variable) {
                Some(gradient) => Ok(gradient.contiguous()?),
                None => Ok(variable.zeros_like()?),
            }
        };
        let sources = match self.checkpoint.cut_from(name) {
            Some(sources)
                if sources
                    .iter()
                    .all(|source| canonical.contains(&source.name)) =>
            {
                sources
            }
            _ => return gradient(name),
        };
        let mut parts = sources
            .iter()
            .map(|source| uncut(source, &gradient(&source.name)?));
        let first = parts.next().unwrap_or_else(|| gradient(name))?;
        parts.try_fold(first, |sum, part| Ok((sum + part?)?))
    }
}

/// The pieces that are fed one after the other.
fn pieces(chunks: &[usize], pos: usize) -> Result<Vec<Range<usize>>> {
    if chunks.is_empty() {
        return Ok(vec![Range { start: 0, end: pos }]);
    }
    if chunks.contains(&0) || chunks.iter().sum::<usize>() != pos {
        let expected = format!("lengths from 1 on that sum to {pos}");
        return Err(Error::request("chunks", expected, format!("{chunks:?}")));
    }
    let mut start = 0;
    let piece = |&len: &usize| {
        start += len;
        start - len..start
    };
    Ok(chunks.iter().map(piece).collect())
}
