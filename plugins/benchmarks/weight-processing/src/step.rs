//! What a step has to make of the weights, and nothing else.

use tlbench_sdk::Mode;
use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Processing, ProcessingStep,
    Trace,
};

use crate::formulas::{Formula, Formulas};
use crate::questions::{in_compatibility_mode, variant, weights_of};
use crate::ulps::{Fit, verdict};
use crate::{EXPLAINED, MODULE, parts};

/// A benchmark of the weights that one step is about: after that step alone, and after all.
pub(crate) struct StepBenchmark {
    id: &'static str,
    description: &'static str,
    step: ProcessingStep,
    formulas: fn(&Formulas<'_>) -> Vec<Formula>,
    /// What has to be there for the step to be seen.
    needed: &'static str,
}

/// Gains and biases of norms.
pub(crate) const LAYER_NORM_FOLDING: StepBenchmark = StepBenchmark {
    id: "layer_norm_folding",
    description: "the gain and bias of every norm are in what reads it, which is centred where the norm centres",
    step: ProcessingStep::FoldLn,
    formulas: |formulas| formulas.norms_and_readers(),
    needed: "norm",
};

/// Embeddings and outputs of attention.
pub(crate) const ATTENTION_OUTPUT_CENTERING: StepBenchmark = StepBenchmark {
    id: "attention_output_centering",
    description: "embeddings and the output of every attention lost their mean over d_model, and nothing else",
    step: ProcessingStep::CenterWritingWeights,
    formulas: |formulas| formulas.attention_outputs(),
    needed: "embedding or attention",
};

/// Outputs of MLPs.
pub(crate) const MLP_OUTPUT_CENTERING: StepBenchmark = StepBenchmark {
    id: "mlp_output_centering",
    description: "the output of every MLP lost its mean over d_model, and nothing else",
    step: ProcessingStep::CenterWritingWeights,
    formulas: |formulas| formulas.mlp_outputs(),
    needed: "MLP",
};

/// The unembedding.
pub(crate) const UNEMBED_CENTERING: StepBenchmark = StepBenchmark {
    id: "unembed_centering",
    description: "the unembedding lost its mean over the vocabulary, and nothing else",
    step: ProcessingStep::CenterUnembed,
    formulas: |formulas| formulas.unembedding(),
    needed: "unembedding",
};

/// Biases of values.
pub(crate) const VALUE_BIAS_FOLDING: StepBenchmark = StepBenchmark {
    id: "value_bias_folding",
    description: "the bias of the values is 0, and what it did is in the bias of the output",
    step: ProcessingStep::FoldValueBiases,
    formulas: |formulas| formulas.value_biases(),
    needed: "bias of values",
};

impl StepBenchmark {
    /// The step alone, and all steps.
    fn processings(&self, model: &ModelInfo) -> Vec<Processing> {
        let alone = Processing::from_iter([self.step]);
        let all = model.processing.clone();
        if alone == all {
            vec![alone]
        } else {
            vec![alone, all]
        }
    }

    fn checks(
        &self,
        model: &ModelInfo,
        processing: &Processing,
    ) -> Result<Vec<Check>, PluginError> {
        let formulas = (self.formulas)(&Formulas::new(&model.spec, processing));
        if formulas.is_empty() {
            let reason = format!("the model has no {}", self.needed);
            return Err(PluginError::unsupported(reason));
        }
        parts::checks(model, &variant(processing), formulas, |part| {
            parts::raw_and_processed(model, processing, part)
        })
    }
}

impl Benchmark for StepBenchmark {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(self.id, MODULE, self.description)
            .explained(EXPLAINED)
            .only_in(Mode::Compat)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        in_compatibility_mode(model)?;
        if !model.processing.has(self.step) {
            let reason = self.step.refusal(&model.spec);
            let reason = reason.unwrap_or_else(|| "it is not asked for".into());
            return Err(PluginError::unsupported(format!("{}: {reason}", self.step)));
        }
        let mut checks = Vec::new();
        for processing in self.processings(model) {
            checks.extend(self.checks(model, &processing)?);
        }
        Ok(checks)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let ([_, processed], [raw_answer, answer]) = (&check.requests[..], answers) else {
            return Err(wrong_count(answers));
        };
        let (raw, weights) = (weights_of(raw_answer), weights_of(answer));
        let processing = &processed.request.processing;
        let formulas = (self.formulas)(&Formulas::new(&model.spec, processing));
        let formulas = parts::asked(formulas, processed);
        let fits = formulas
            .iter()
            .map(|formula| Fit::new(formula, &raw, &weights, model.dtype))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Judgement::Verdict(verdict(&fits, model)))
    }
}
