//! Processed weights with other values.

use std::sync::PoisonError;

use tlbench_engine::EngineError;
use tlbench_sdk::{
    Action, Change, Intervention, PluginError, Processing, ProcessingStep, ShapeError, Target,
    Tensor, TensorMap, TraceRequest, WeightEdit,
};

use super::FaultyBridge;

impl FaultyBridge {
    /// Lets a run with processed weights have the wrong ones, before whatever else is edited in it.
    pub(super) fn put_wrong_weights(&self, request: &mut TraceRequest) -> Result<(), PluginError> {
        if request.processing.is_raw() || self.weights.is_empty() {
            return Ok(());
        }
        let mut known = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&request.processing) {
            let wrong = self.wrong_weights(&request.processing)?;
            known.insert(request.processing.clone(), wrong);
        }
        let wrong = &known[&request.processing];
        let put = |name: &String| {
            let operand = name.clone();
            Intervention::new(Target::Weight(name.clone()), Action::Replace { operand })
        };
        request.interventions.splice(0..0, wrong.keys().map(put));
        request.operands.extend(wrong.clone());
        Ok(())
    }

    fn wrong_weights(&self, processing: &Processing) -> Result<TensorMap, PluginError> {
        let mut wrong = TensorMap::new();
        for edit in &self.weights {
            match edit {
                WeightEdit::Centred { weights, dim } => {
                    for name in weights {
                        let now = self.weight(name, processing)?;
                        wrong.insert(name.clone(), centred(&now, *dim)?);
                    }
                }
                WeightEdit::StepTwice { weights, step, by } if processing.has(*step) => {
                    for name in weights {
                        wrong.insert(name.clone(), self.twice(name, processing, *step, *by)?);
                    }
                }
                WeightEdit::StepTwice { .. } => {}
            }
        }
        Ok(wrong)
    }

    fn weight(&self, name: &str, processing: &Processing) -> Result<Tensor, EngineError> {
        self.bridge.processed(processing)?.weights().get(name)
    }

    /// A weight that `step` has changed once more.
    fn twice(
        &self,
        name: &str,
        processing: &Processing,
        step: ProcessingStep,
        by: Change,
    ) -> Result<Tensor, PluginError> {
        let steps = processing.steps();
        let without: Processing = steps.filter(|other| *other != step).collect();
        let once = self.weight(name, processing)?;
        let never = self.weight(name, &without)?;
        let again = |(once, never): (f64, f64)| match by {
            Change::Factor if never == 0.0 => once,
            Change::Factor => once * (once / never),
            Change::Summand => once + (once - never),
        };
        let pairs = once.to_f64_vec().into_iter().zip(never.to_f64_vec());
        Ok(Tensor::from_vec(
            pairs.map(again).collect::<Vec<f64>>(),
            once.shape(),
        )?)
    }
}

/// Less the mean over one dimension.
fn centred(tensor: &Tensor, dim: usize) -> Result<Tensor, ShapeError> {
    let mut values = tensor.to_f64_vec();
    let size = tensor.shape()[dim];
    let stride: usize = tensor.shape()[dim + 1..].iter().product();
    let starts = (0..values.len()).filter(|at| (at / stride).is_multiple_of(size));
    for start in starts {
        let places = || (0..size).map(|index| start + index * stride);
        let mean = places().map(|at| values[at]).sum::<f64>() / size as f64;
        places().for_each(|at| values[at] -= mean);
    }
    Tensor::from_vec(values, tensor.shape())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centring_takes_the_mean_over_one_dimension() {
        let tensor = Tensor::from_vec(vec![1.0, 2.0, 3.0, 6.0], &[2, 2]).unwrap();
        let over = |dim| centred(&tensor, dim).unwrap().to_f64_vec();
        assert_eq!(over(0), [-1.0, -2.0, 1.0, 2.0]);
        assert_eq!(over(1), [-0.5, 0.5, -1.5, 1.5]);
    }
}
