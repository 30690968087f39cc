//! The answer to one question, in one precision and one order of summation.

use std::cell::OnceCell;
use std::ops::Range;

use candle_core::{DType, Tensor};
use tlbench_sdk::calibration::Values;
use tlbench_sdk::{Evaluation, HookPoint, ModelSpec, Quantity, TraceRequest};

use crate::backward::BackwardPass;
use crate::cache::Cache;
use crate::checkpoint::Checkpoint;
use crate::convert::from_candle;
use crate::error::{Error, Result};
use crate::generate::generate;
use crate::inputs::Inputs;
use crate::matrix::Lies;
use crate::model::{HookedTransformer, Logits};
use crate::objective::{log_softmax, mean, next_token_losses, scalar};
use crate::order::Order;
use crate::run::{Probe, Run};
use crate::run_weights::RunWeights;

/// A model with the weights that one question is about.
pub(crate) struct Model<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: RunWeights,
    pub(crate) dtype: DType,
    pub(crate) order: Order,
}

/// Logits, and their distribution if somebody asks for it.
struct Output {
    logits: Tensor,
    log_probs: OnceCell<Tensor>,
}

impl Output {
    fn new(logits: &Tensor) -> Self {
        Self {
            logits: logits.detach(),
            log_probs: OnceCell::new(),
        }
    }

    fn log_probs(&self) -> Result<&Tensor> {
        if let Some(log_probs) = self.log_probs.get() {
            return Ok(log_probs);
        }
        let log_probs = log_softmax(&self.logits)?;
        Ok(self.log_probs.get_or_init(|| log_probs))
    }
}

impl Model<'_> {
    /// Everything that `request` asks for, and the pass back, if there is one: who asks for gradients at hooks may ask for
    /// those by parameters next.
    pub(crate) fn answer(&self, request: &TraceRequest) -> Result<(Values, Option<BackwardPass>)> {
        let inputs = Inputs::new(&request.inputs)?;
        let wanted = self.wanted_parameters(request)?;
        let lies = if request.processing.is_raw() {
            Lies::AsStored
        } else {
            Lies::RowByRow
        };
        let this = Model {
            weights: match request.gradients {
                Some(_) => self.weights.differentiated(lies)?,
                None => self.weights.clone(),
            },
            ..*self
        };
        let mut probe = Probe::new(request, this.hooks, this.dtype, inputs.pos())?;
        let logits = this.forward_in_pieces(request, &inputs, &mut probe)?;
        let pass = match &request.gradients {
            Some(asked) => {
                let store = scalar(&asked.objective, &logits.edited, &inputs)?.backward()?;
                Some(BackwardPass::new(this.weights.clone(), &store))
            }
            None => None,
        };
        let mut values = match &pass {
            Some(pass) => self.parameter_gradients(&wanted, pass)?,
            None => Values::new(),
        };
        values.extend(probe.finish()?);
        let output = Output::new(match request.evaluation {
            Evaluation::Local => &logits.computed,
            Evaluation::Cumulative => &logits.edited,
        });
        for quantity in &request.capture {
            if let Some(value) = this.output(quantity, &output, &inputs, request)? {
                values.insert(quantity.clone(), value);
            }
        }
        Ok((values, pass))
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
        output: &Output,
        inputs: &Inputs,
        request: &TraceRequest,
    ) -> Result<Option<tlbench_sdk::Tensor>> {
        let value = match quantity {
            Quantity::Logits => from_candle(&output.logits)?,
            Quantity::LogProbs => from_candle(output.log_probs()?)?,
            Quantity::LossPerToken | Quantity::Loss => {
                let losses = next_token_losses(output.log_probs()?, inputs)?;
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
            Quantity::Weight(name) => from_candle(&self.weights.value(name)?)?,
            Quantity::Hook(_) | Quantity::HookGradient(_) | Quantity::ParameterGradient(_) => {
                return Ok(None);
            }
        };
        Ok(Some(value))
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
