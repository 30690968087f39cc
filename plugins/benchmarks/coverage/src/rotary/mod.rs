//! The rates at which queries and keys are turned.

mod rates;
mod turned;

use tlbench_sdk::judge::{answer_of, stimulus, truth_of, wrong_count};
use tlbench_sdk::spec::{AttentionSpec, NormOrder, PositionSpec, RotarySpec};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, POSITION_IDS,
    PluginError, Quantity, Stimulus, Tensor, Trace, TraceRequest,
};

use self::turned::{Table, Turned};
use crate::MODULE;
use crate::between::Between;
use crate::checks::of_plain_inputs;
use crate::layers::attentions;
use crate::table::{Pair, judge};

/// Queries and keys are turned at the rates that HF's formula gives for the spec.
pub(crate) struct RotaryFrequencies;

impl Benchmark for RotaryFrequencies {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "rotary_frequencies",
            MODULE,
            "queries and keys are turned by the angle per position that HF's formula gives for the spec",
        )
        .explained(include_str!("../explained/rotary_frequencies.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        if sites(model).next().is_none() {
            return Err(PluginError::unsupported(
                "no block turns queries and keys behind a hook that shows them",
            ));
        }
        let what = "queries or keys before and behind their rotation";
        of_plain_inputs(model, what, |stimulus| {
            let hooks = shown_sites(model, stimulus).flat_map(|site| [site.before, site.after]);
            hooks.map(Quantity::Hook).collect()
        })
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
        let pairs = shown_sites(model, stimulus)
            .map(|site| {
                Ok(Pair {
                    reference: site.turned(&stimulus.request, truth, truth_of)?,
                    subject: site.turned(&stimulus.request, subject, answer_of)?,
                })
            })
            .collect::<Result<Vec<_>, PluginError>>()?;
        let verdict = judge(
            model,
            &stimulus.request,
            truth,
            &pairs,
            "tables of angle rates",
        )?;
        Ok(Judgement::Verdict(verdict))
    }
}

/// Queries or keys of one block, which are turned between two hooks.
struct Site<'a> {
    rotary: &'a RotarySpec,
    between: Between,
    before: String,
    after: String,
}

fn sites(model: &ModelInfo) -> impl Iterator<Item = Site<'_>> {
    attentions(model).flat_map(|(name, attention)| {
        ["q", "k"]
            .into_iter()
            .filter_map(move |letter| site(&name, attention, letter))
    })
}

fn shown_sites<'a>(model: &'a ModelInfo, stimulus: &'a Stimulus) -> impl Iterator<Item = Site<'a>> {
    let shows = |hook: &String| stimulus.shows(&Quantity::hook(hook));
    sites(model).filter(move |site| shows(&site.before) && shows(&site.after))
}

/// `None` where nothing is turned, or a norm hides what was.
fn site<'a>(name: &str, attention: &'a AttentionSpec, letter: &str) -> Option<Site<'a>> {
    let PositionSpec::Rotary(rotary) = &attention.position else {
        return None;
    };
    let norm = match &attention.qk_norm {
        Some(norms) if norms.order == NormOrder::AfterRotary => return None,
        Some(norms) if letter == "q" => Some(&norms.q),
        Some(norms) => Some(&norms.k),
        None => None,
    };
    let before = match norm {
        Some(_) => format!("{name}.{letter}_norm.hook_normalized"),
        None => format!("{name}.hook_{letter}"),
    };
    Some(Site {
        rotary,
        between: Between::of(attention, norm),
        before,
        after: format!("{name}.hook_rot_{letter}"),
    })
}

impl<'a> Site<'a> {
    fn turned(
        &self,
        request: &'a TraceRequest,
        trace: &'a Trace,
        value: impl Fn(&'a Trace, &Quantity) -> Result<&'a Tensor, PluginError>,
    ) -> Result<Turned<'a>, PluginError> {
        let positions = integers(request, POSITION_IDS)?;
        let length = positions.iter().max().map_or(0, |last| last + 1);
        Turned::new(
            self.after.clone(),
            [
                value(trace, &Quantity::hook(&self.before))?,
                value(trace, &Quantity::hook(&self.after))?,
            ],
            self.between,
            Table::new(self.rotary, length),
            positions,
            integers(request, ATTENTION_MASK)?,
        )
    }
}

fn integers<'a>(request: &'a TraceRequest, name: &str) -> Result<&'a [i64], PluginError> {
    let values = request.inputs.get(name).and_then(Tensor::as_slice);
    values.ok_or_else(|| PluginError::internal(format!("a question without {name} of integers")))
}
