//! The weights of a model under TransformerLens's names, raw or processed.

use candle_core::{Device, Tensor as CandleTensor};
use tlbench_checkpoint::Weights;
use tlbench_sdk::spec::CanonicalWeight;
use tlbench_sdk::{DType, ModelSpec, Processing, Tensor};

use crate::convert::from_candle;
use crate::error::EngineError;
use crate::precision::Precision;
use crate::processing::{changed, process, renamed};
use crate::weights::Parameters;

/// A spec with its weights. It knows every component that a spec can express, also those that the engine cannot run.
#[derive(Clone)]
pub struct CanonicalWeights {
    pub(crate) spec: ModelSpec,
    pub(crate) parameters: Parameters,
    pub(crate) precision: Precision,
}

impl CanonicalWeights {
    /// Reads what `spec` takes from `weights`, rounded to what `dtype` holds.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit.
    pub fn read(spec: &ModelSpec, weights: &Weights, dtype: DType) -> Result<Self, EngineError> {
        let precision = Precision::new(dtype)?;
        Ok(Self {
            spec: spec.clone(),
            parameters: Parameters::read(spec, weights, precision)?,
            precision,
        })
    }

    /// The same after the steps of `processing`. They share the memory of what no step changes.
    ///
    /// # Errors
    /// If a step is not for this model.
    pub fn processed(&self, processing: &Processing) -> Result<Self, EngineError> {
        self.check_admitted(processing)?;
        process(self, processing)
    }

    /// What the weights of these names are after the steps of `processing`. No other is worked out.
    pub(crate) fn shown_after(
        &self,
        processing: &Processing,
        names: &[&str],
    ) -> Result<Vec<Tensor>, EngineError> {
        self.check_admitted(processing)?;
        let changed = changed(self, processing, names)?;
        let unchanged = renamed(self, processing)?;
        let shown = |name: &&str| match changed.get(*name) {
            Some(weight) => from_candle(weight),
            None => unchanged.get(name),
        };
        names.iter().map(shown).collect()
    }

    /// The weights of these names.
    pub(crate) fn shown(&self, names: &[&str]) -> Result<Vec<Tensor>, EngineError> {
        names.iter().map(|name| self.get(name)).collect()
    }

    fn check_admitted(&self, processing: &Processing) -> Result<(), EngineError> {
        for step in processing.steps() {
            if let Some(reason) = step.refusal(&self.spec) {
                return Err(EngineError::Refused { step, reason });
            }
        }
        Ok(())
    }

    /// The spec that takes these weights.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// A weight under its canonical name (`blocks.0.attn.W_Q`) and in canonical layout, or a checkpoint tensor under the
    /// name that it is stored under.
    ///
    /// One that its component could have and does not is shown as what changes nothing, as HookedTransformer has it:
    /// the gain of a folded norm as 1, a bias as 0.
    ///
    /// # Errors
    /// If no component could have it.
    pub fn get(&self, name: &str) -> Result<Tensor, EngineError> {
        from_candle(&self.view(name)?)
    }

    /// The same in the memory that it is stored in.
    pub(crate) fn view(&self, name: &str) -> Result<CandleTensor, EngineError> {
        let mut present = self.spec.weights().into_iter();
        if let Some(CanonicalWeight { source, .. }) = present.find(|weight| weight.name == name) {
            return self.parameters.cut(name, &source);
        }
        if let Some(stored) = self.parameters.get(name) {
            return Ok(stored.clone());
        }
        let mut absent = self.spec.absent_weights().into_iter();
        let absent = absent.find(|weight| weight.name == name);
        let absent = absent.ok_or_else(|| EngineError::no_weight(name))?;
        let neutral = CandleTensor::full(absent.neutral, absent.shape, &Device::Cpu)?;
        Ok(neutral.to_dtype(self.precision.computed())?)
    }

    /// The weights of one name in all blocks (`attn.W_Q`, `mlp.b_in`), stacked to `[n_layers, ..]`.
    ///
    /// # Errors
    /// If some block has no such weight, or one of another shape.
    #[doc(alias = "W_Q")]
    #[doc(alias = "W_out")]
    pub fn stacked(&self, name: &str) -> Result<Tensor, EngineError> {
        let weights = (0..self.spec.layers.len())
            .map(|index| self.view(&format!("blocks.{index}.{name}")))
            .collect::<Result<Vec<_>, _>>()?;
        from_candle(&CandleTensor::stack(&weights, 0)?)
    }
}
