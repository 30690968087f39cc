//! Gradients by parameters, out of one pass back.
//!
//! All of them take as much memory as the model, and so are asked for in parts. The pass, of which little more is left than
//! what went into each product and what came back, is kept until somebody asks something else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use tlbench_sdk::calibration::{Precision, Values};
use tlbench_sdk::spec::CanonicalWeight;
use tlbench_sdk::{Quantity, TraceRequest};

use crate::answer::Model;
use crate::checkpoint::uncut;
use crate::convert::moved;
use crate::error::{Error, Result};
use crate::run_weights::RunWeights;

/// By parameter, the canonical weights by way of which it acts.
pub(crate) type WantedParameters = BTreeMap<String, Vec<String>>;

/// A pass back through a model, from which the gradient by every parameter can be taken.
pub(crate) struct BackwardPass {
    weights: RunWeights,
    /// Those of vectors, as candle has them. What else it has is of constants.
    vectors: BTreeMap<String, Tensor>,
}

impl BackwardPass {
    /// Of a run with `weights`, which left `store`.
    pub(crate) fn new(weights: RunWeights, store: &GradStore) -> Self {
        Self {
            vectors: weights.vector_gradients(store),
            weights,
        }
    }

    fn gradient(&self, name: &str, sum: Option<Tensor>) -> Result<Tensor> {
        self.weights.gradient(name, self.vectors.get(name), sum)
    }
}

/// The passes that the last question took, in each precision.
#[derive(Default)]
pub(crate) struct LastPasses(Mutex<Passes>);

#[derive(Default)]
struct Passes {
    /// The question, whatever was to be shown.
    about: Option<TraceRequest>,
    passes: Vec<(Precision, BackwardPass)>,
}

impl LastPasses {
    /// The gradients that `request` asks for, where they follow from a pass that is there and nothing else is asked for.
    pub(crate) fn answer(
        &self,
        model: &Model<'_>,
        request: &TraceRequest,
        precision: Precision,
    ) -> Result<Option<Values>> {
        let last = self.about(request);
        let pass = last.passes.iter().find(|(of, _)| *of == precision);
        let mut shown = request.capture.iter();
        match pass {
            Some((_, pass)) if shown.all(|one| matches!(one, Quantity::ParameterGradient(_))) => {
                let wanted = model.wanted_parameters(request)?;
                model.parameter_gradients(&wanted, pass).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Keeps what `request` took.
    pub(crate) fn keep(&self, request: &TraceRequest, precision: Precision, pass: BackwardPass) {
        let mut last = self.about(request);
        last.passes.retain(|(of, _)| *of != precision);
        last.passes.push((precision, pass));
    }

    /// Those about what `request` is about. Others are gone then.
    fn about(&self, request: &TraceRequest) -> MutexGuard<'_, Passes> {
        let about = TraceRequest {
            capture: Vec::new(),
            ..request.clone()
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.about.as_ref() != Some(&about) {
            *last = Passes {
                about: Some(about),
                passes: Vec::new(),
            };
        }
        last
    }
}

impl Model<'_> {
    /// The gradients by `wanted` that `pass` left.
    pub(crate) fn parameter_gradients(
        &self,
        wanted: &WantedParameters,
        pass: &BackwardPass,
    ) -> Result<Values> {
        let mut values = Values::new();
        for (name, canonical) in wanted {
            let gradient = self.parameter_gradient(name, canonical, pass)?;
            let quantity = Quantity::ParameterGradient(name.clone());
            values.insert(quantity, moved(&gradient)?);
        }
        Ok(values)
    }

    /// The parameters whose gradients are shown, and the canonical weights by way of which they act.
    pub(crate) fn wanted_parameters(&self, request: &TraceRequest) -> Result<WantedParameters> {
        let mut wanted = WantedParameters::new();
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
                self.weights.matrix(name)?;
                vec![name.clone()]
            };
            wanted.insert(name.clone(), canonical);
        }
        Ok(wanted)
    }

    /// A tensor that nobody else has. By a checkpoint tensor, the sum over all that is cut from it; by a canonical weight, its own.
    fn parameter_gradient(
        &self,
        name: &str,
        canonical: &[String],
        pass: &BackwardPass,
    ) -> Result<Tensor> {
        let is_canonical = |source: &CanonicalWeight| canonical.contains(&source.name);
        let sources = self.checkpoint.cut_from(name).unwrap_or_default();
        if sources.is_empty() || !sources.iter().all(is_canonical) {
            return pass.gradient(name, None);
        }
        // What is the whole tensor comes last: it is added to what the others have made.
        let (whole, parts): (Vec<_>, Vec<_>) = sources
            .iter()
            .partition(|source| source.source.cut.is_empty());
        let mut sum: Option<Tensor> = None;
        for part in parts {
            let share = uncut(part, &pass.gradient(&part.name, None)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + share)?,
                None => share,
            });
        }
        for source in whole {
            sum = Some(pass.gradient(&source.name, sum)?);
        }
        sum.map_or_else(|| pass.gradient(name, None), Ok)
    }
}
