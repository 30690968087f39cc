//! A run in pieces through a cache against one in a single piece.

use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable, ask_both, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Measurement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Stimulus, Trace, TraceRequest, is_large, is_padded,
};

use crate::MODULE;

/// Tokens that a large model is fed one by one. Each costs a walk through all of its weights.
const STEPS_OF_LARGE: usize = 4;

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Token by token, as decoding does.
    Steps,
    /// A prompt, and what follows it token by token.
    Prefilled,
    /// Three pieces of several tokens.
    InChunks,
}

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
        let checks = cuts(model).into_iter().filter_map(|(stimulus, way)| {
            let [_, pos] = stimulus.request.shape();
            Some(check(stimulus, way, way.pieces(pos, steps)?))
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

/// Which inputs are cut in which ways. For a small model that is all in all of them. For a large one the first with padding
/// goes in all ways, as it has what there is without padding too; in chunks go the others with padding, and the longest
/// without it.
fn cuts(model: &ModelInfo) -> Vec<(&Stimulus, Way)> {
    let all = model.stimuli.iter().filter(|one| is_cuttable(one));
    if !is_large(&model.parameters) {
        let in_all_ways = |one| Way::ALL.map(|way| (one, way));
        return all.flat_map(in_all_ways).collect();
    }
    let length = |one: &&Stimulus| one.request.shape()[1];
    let (padded, whole): (Vec<_>, Vec<_>) = all.partition(|one| is_padded(&one.request.inputs));
    let longest = whole.into_iter().max_by_key(length);
    let mut chosen = padded.into_iter().chain(longest);
    let in_all_ways = chosen.next().into_iter();
    let in_all_ways = in_all_ways.flat_map(|one| Way::ALL.map(|way| (one, way)));
    let in_chunks = chosen.map(|one| (one, Way::InChunks));
    in_all_ways.chain(in_chunks).collect()
}

fn check(stimulus: &Stimulus, way: Way, chunks: Vec<usize>) -> Check {
    let request = TraceRequest {
        capture: vec![Quantity::Logits],
        ..stimulus.request.clone()
    };
    let cut = TraceRequest {
        chunks,
        ..request.clone()
    };
    Check {
        variant: format!("{}.{}", stimulus.id, way.name()),
        requests: vec![
            PlannedRequest::reference(request),
            PlannedRequest::subject(cut),
        ],
    }
}

impl Way {
    const ALL: [Self; 3] = [Self::Steps, Self::Prefilled, Self::InChunks];

    const fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Prefilled => "prefilled",
            Self::InChunks => "in_chunks",
        }
    }

    /// The pieces of `pos` tokens, of which at most `steps` are fed one by one; `None` where there are too few for a cut
    /// that is another one.
    fn pieces(self, pos: usize, steps: usize) -> Option<Vec<usize>> {
        match self {
            Self::Steps => {
                let mut pieces = vec![1; pos.min(steps)];
                pieces.extend((pos > steps).then(|| pos - steps));
                Some(pieces)
            }
            Self::Prefilled => {
                let prompt = (pos / 2).max(pos.saturating_sub(steps));
                let mut pieces = vec![prompt];
                pieces.extend(vec![1; pos - prompt]);
                (pos > 3).then_some(pieces)
            }
            Self::InChunks => {
                let third = pos / 3;
                (pos > 5).then(|| vec![third, third + 1, pos - 2 * third - 1])
            }
        }
    }
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
            let found = Way::ALL.map(|way| way.pieces(7, steps).unwrap());
            assert_eq!(found, expected);
        }
    }
}
