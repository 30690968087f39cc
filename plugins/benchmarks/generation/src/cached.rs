//! A run in pieces through a cache against one in a single piece.

use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable, ask_both, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Measurement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Stimulus, Trace, TraceRequest, is_large,
};

use crate::MODULE;

/// Tokens that a large model is fed one by one. Each costs a walk through all of its weights.
const STEPS_OF_LARGE: usize = 8;

pub(crate) struct GenerationWithKvCache;

impl Benchmark for GenerationWithKvCache {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "generation_with_kv_cache",
            MODULE,
            "the logits of every step through the cache are the reference's of a single run",
        )
        .explained(include_str!("explained/generation_with_kv_cache.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        if model.spec.positions_depend_on_length() {
            let fed = model.stimuli.iter().filter(|stimulus| is_cut(stimulus));
            let checks = fed.map(|stimulus| ask_both(stimulus, vec![Quantity::Logits]));
            return applicable(checks.collect(), "logits of an input in pieces");
        }
        let steps = if is_large(&model.parameters) {
            STEPS_OF_LARGE
        } else {
            usize::MAX
        };
        let checks = model
            .stimuli
            .iter()
            .filter(|stimulus| is_cuttable(stimulus))
            .flat_map(|stimulus| {
                let [_, pos] = stimulus.request.shape();
                ways(pos, steps).into_iter().map(move |(name, chunks)| {
                    let request = TraceRequest {
                        capture: vec![Quantity::Logits],
                        ..stimulus.request.clone()
                    };
                    let cut = TraceRequest {
                        chunks,
                        ..request.clone()
                    };
                    Check {
                        variant: format!("{}.{name}", stimulus.id),
                        requests: vec![
                            PlannedRequest::reference(request),
                            PlannedRequest::subject(cut),
                        ],
                    }
                })
            });
        applicable(checks.collect(), "logits of more than one token")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (Some(planned), [truth, subject]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let quantities = [Quantity::Logits];
        let mut findings = Findings::new(&quantities, Pass::Forward);
        let comparison = Comparison::new(model, &planned.request, truth)?;
        findings.compare(&comparison, &quantities, truth, subject)?;
        let mut verdict = findings.verdict(model, "logits through the cache");
        if let Some(cut) = check.requests.get(1) {
            verdict = verdict.detail("pieces", format!("{:?}", cut.request.chunks));
        }
        let measured = verdict.measurements.first();
        if let Some(first) = measured.and_then(Measurement::first_position_beyond_gate) {
            verdict = verdict.detail("first position beyond the gate", first.to_string());
        }
        Ok(Judgement::Verdict(verdict))
    }
}

fn is_cuttable(stimulus: &Stimulus) -> bool {
    stimulus.request.is_plain()
        && stimulus.shows(&Quantity::Logits)
        && stimulus.request.shape()[1] > 1
}

/// Whether it is a run through the cache already, whose truth is the reference's own.
fn is_cut(stimulus: &Stimulus) -> bool {
    let request = &stimulus.request;
    !request.chunks.is_empty() && request.generate.is_none() && stimulus.shows(&Quantity::Logits)
}

/// Token by token, as decoding does, and a prompt in two and in three pieces; at most `steps` tokens are fed one by one.
fn ways(pos: usize, steps: usize) -> Vec<(&'static str, Vec<usize>)> {
    let mut one_by_one = vec![1; pos.min(steps)];
    one_by_one.extend((pos > steps).then(|| pos - steps));
    let mut ways = vec![("steps", one_by_one)];
    if pos > 3 {
        let prompt = (pos / 2).max(pos.saturating_sub(steps));
        let mut prefilled = vec![prompt];
        prefilled.extend(vec![1; pos - prompt]);
        ways.push(("prefilled", prefilled));
    }
    if pos > 5 {
        let third = pos / 3;
        ways.push(("in_chunks", vec![third, third + 1, pos - 2 * third - 1]));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_covers_all_tokens_and_a_large_model_is_fed_few_one_by_one() {
        for (steps, expected) in [
            (usize::MAX, [vec![1; 7], vec![3, 1, 1, 1, 1], vec![2, 3, 2]]),
            (2, [vec![1, 1, 5], vec![5, 1, 1], vec![2, 3, 2]]),
        ] {
            let found = ways(7, steps).into_iter().map(|(_, pieces)| pieces);
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
