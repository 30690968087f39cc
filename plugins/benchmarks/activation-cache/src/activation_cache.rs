//! Every cached value against the reference's.

use tlbench_sdk::judge::{
    Comparison, Findings, Pass, applicable, ask_both, askable, stimulus, wrong_count,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Quantity, Stimulus, Trace,
};

use crate::{EXPLAINED, MODULE};

pub(crate) struct ActivationCache;

impl Benchmark for ActivationCache {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "activation_cache",
            MODULE,
            "every cached activation equals the reference's",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        let check = |stimulus: &Stimulus| {
            let hooks = hooks_of(stimulus);
            if hooks.is_empty() {
                return None;
            }
            let mut check = ask_both(stimulus, hooks);
            for planned in check.requests.iter_mut().skip(1) {
                planned.request.capture = askable(model, &planned.request.capture);
            }
            Some(check)
        };
        let plain = model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.request.is_plain());
        applicable(plain.filter_map(check).collect(), "a hook")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [truth, subject] = answers else {
            return Err(wrong_count(answers));
        };
        let stimulus = stimulus(model, check)?;
        let hooks = hooks_of(stimulus);
        let comparison = Comparison::new(model, &stimulus.request, truth)?;
        let mut findings = Findings::new(&hooks, Pass::Forward);
        findings.compare(&comparison, &hooks, truth, subject)?;
        Ok(Judgement::Verdict(findings.verdict(model, "cached values")))
    }
}

fn hooks_of(stimulus: &Stimulus) -> Vec<Quantity> {
    let capture = stimulus.request.capture.iter();
    capture
        .filter(|quantity| quantity.as_hook().is_some())
        .cloned()
        .collect()
}
