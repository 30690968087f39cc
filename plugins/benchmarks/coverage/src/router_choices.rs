//! The experts that each token goes to.

use std::collections::BTreeSet;

use tlbench_sdk::compare::Gate;
use tlbench_sdk::judge::{Comparison, answer_of, stimulus, truth_of, wrong_count};
use tlbench_sdk::spec::{MoeSpec, ScoreOrder};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Quantity, Severity,
    Stimulus, Tensor, Trace, Verdict,
};

use crate::MODULE;
use crate::checks::{of_plain_inputs, other_set};
use crate::layers::mixtures;

/// Each token goes to the experts that it goes to in the reference.
pub(crate) struct RouterChoices;

impl Benchmark for RouterChoices {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "router_choices",
            MODULE,
            "each token goes to the experts that it goes to in the reference, in every block",
        )
        .explained(include_str!("explained/router_choices.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        if mixtures(model).next().is_none() {
            return Err(PluginError::unsupported("no block chooses among experts"));
        }
        of_plain_inputs(model, "which experts are chosen", |stimulus| {
            let sites = sites(model, stimulus);
            sites.flat_map(|site| site.capture()).collect()
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
        let comparison = Comparison::new(model, &stimulus.request, truth)?;
        let [_, pos] = stimulus.request.shape();
        let is_real = |token: usize| {
            comparison
                .region()
                .is_real(token / pos.max(1), token % pos.max(1))
        };
        let (mut tokens, mut ties, mut first) = (0, 0, None);
        for site in sites(model, stimulus) {
            let choices = site.choices(truth, subject)?;
            let counted: Vec<usize> = (0..choices.expected.len())
                .filter(|&token| is_real(token))
                .collect();
            let (tied, wrong): (Vec<usize>, Vec<usize>) = counted
                .iter()
                .filter(|&&token| !choices.agree(token))
                .partition(|&&token| choices.is_tie(token));
            tokens += counted.len();
            ties += tied.len();
            if first.is_none() && !wrong.is_empty() {
                first = Some(diverging(model, &site, &choices, &wrong, pos));
            }
        }
        let message = format!(
            "{} of {tokens} tokens go to the experts that they go to in the reference{}",
            tokens - ties,
            match ties {
                0 => String::new(),
                ties => format!(", and {ties} to others that score the same"),
            }
        );
        let severity = if ties == 0 {
            Severity::Info
        } else {
            Severity::Warning
        };
        let verdict = first.unwrap_or_else(|| Verdict::new(severity, message));
        Ok(Judgement::Verdict(verdict))
    }
}

/// The experts of one block.
struct Site<'a> {
    name: String,
    moe: &'a MoeSpec,
    /// Whether the scores that the choice is made by are shown as well.
    has_scores: bool,
}

fn sites<'a>(model: &'a ModelInfo, stimulus: &'a Stimulus) -> impl Iterator<Item = Site<'a>> {
    mixtures(model).filter_map(|(name, moe)| {
        let shows = |hook: &str| stimulus.shows(&Quantity::hook(format!("{name}.{hook}")));
        let is_by_weights = moe.order == ScoreOrder::BeforeTopK && moe.choice_bias.is_none();
        let has_scores = is_by_weights && shows("hook_expert_weights");
        shows("hook_expert_indices").then_some(Site {
            name,
            moe,
            has_scores,
        })
    })
}

impl Site<'_> {
    fn indices(&self) -> Quantity {
        Quantity::hook(format!("{}.hook_expert_indices", self.name))
    }

    fn scores(&self) -> Quantity {
        Quantity::hook(format!("{}.hook_expert_weights", self.name))
    }

    fn capture(&self) -> Vec<Quantity> {
        let scores = self.has_scores.then(|| self.scores());
        [self.indices()].into_iter().chain(scores).collect()
    }

    fn choices(&self, truth: &Trace, subject: &Trace) -> Result<Choices, PluginError> {
        let (expected, found) = (
            truth_of(truth, &self.indices())?,
            answer_of(subject, &self.indices())?,
        );
        let scores = match self.has_scores {
            true => truth_of(truth, &self.scores())?.to_f64_vec(),
            false => Vec::new(),
        };
        let floor = truth
            .floor(&self.scores())
            .map_or(0.0, |floor| floor.cumulative);
        let choices = Choices {
            expected: sets(expected, self.moe.top_k),
            found: sets(found, found.shape().last().copied().unwrap_or(1)),
            scores,
            n_experts: self.moe.experts.len(),
            margin: Gate::for_rows(1).warning * floor,
        };
        if choices.expected.len() != choices.found.len() {
            let (found, expected) = (found.shape(), expected.shape());
            let message = format!(
                "{}: expected choices {expected:?}, found {found:?}",
                self.name
            );
            return Err(PluginError::invalid_input(message));
        }
        Ok(choices)
    }
}

/// The experts of each token, whatever their order.
fn sets(indices: &Tensor, top_k: usize) -> Vec<BTreeSet<i64>> {
    let values = indices.to_f64_vec();
    let tokens = values.chunks(top_k.max(1));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "indices are shown as floats"
    )]
    let set = |token: &[f64]| token.iter().map(|&expert| expert as i64).collect();
    tokens.map(set).collect()
}

/// What both choose in one block.
struct Choices {
    expected: Vec<BTreeSet<i64>>,
    found: Vec<BTreeSet<i64>>,
    /// What the reference chooses by, `[token, n_experts]`; empty where it does not show it.
    scores: Vec<f64>,
    n_experts: usize,
    /// Scores that are no further apart are the same.
    margin: f64,
}

impl Choices {
    fn agree(&self, token: usize) -> bool {
        self.expected[token] == self.found[token]
    }

    /// Whether all experts in which the two differ score the same in the reference.
    fn is_tie(&self, token: usize) -> bool {
        let differing = self.expected[token].symmetric_difference(&self.found[token]);
        let score = |expert: &i64| {
            let expert = usize::try_from(*expert)
                .ok()
                .filter(|&e| e < self.n_experts)?;
            self.scores.get(token * self.n_experts + expert).copied()
        };
        let Some(scores) = differing.map(score).collect::<Option<Vec<f64>>>() else {
            return false;
        };
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
        self.expected[token].len() == self.found[token].len() && highest - lowest <= self.margin
    }
}

fn diverging(
    model: &ModelInfo,
    site: &Site<'_>,
    choices: &Choices,
    wrong: &[usize],
    pos: usize,
) -> Verdict {
    let first = wrong.first().copied().unwrap_or_default();
    let reason = format!(
        "position {} of row {} goes to {} where the reference has {}",
        first % pos.max(1),
        first / pos.max(1),
        named(&choices.found[first]),
        named(&choices.expected[first])
    );
    let tokens = format!(
        "{} of {} tokens of the block, padding included",
        wrong.len(),
        choices.expected.len()
    );
    other_set(model, &site.name, site.indices(), reason, tokens)
}

fn named(experts: &BTreeSet<i64>) -> String {
    let names: Vec<String> = experts.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [one] => format!("expert {one}"),
        several => format!("experts {}", several.join(", ")),
    }
}
