//! The keys that each query sees.

use tlbench_sdk::judge::{Comparison, answer_of, stimulus, truth_of, wrong_count};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Quantity, Severity,
    Stimulus, Trace, Verdict,
};

use crate::MODULE;
use crate::checks::{of_plain_inputs, other_set};
use crate::layers::attentions;
use crate::sight::{Keys, Query, Shown, Sight};

/// Each query sees the keys that it sees in the reference.
pub(crate) struct MaskRows;

impl Benchmark for MaskRows {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "mask_rows",
            MODULE,
            "each query sees the keys that it sees in the reference, in every block",
        )
        .explained(include_str!("explained/mask_rows.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        of_plain_inputs(model, "scores or patterns of attention", |stimulus| {
            sites(model, stimulus).map(|site| site.quantity()).collect()
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
        let (mut queries_in_all, mut first) = (0, None);
        for site in sites(model, stimulus) {
            let quantity = site.quantity();
            let seen = Seen {
                expected: Sight::new(site.shown, truth_of(truth, &quantity)?)?,
                found: Sight::new(site.shown, answer_of(subject, &quantity)?)?,
                floor: truth.floor(&quantity).map_or(0.0, |floor| floor.cumulative),
            };
            let counts = |query: &Query| comparison.region().is_real(query.row, query.pos);
            let queries: Vec<Query> = seen.expected.queries().filter(counts).collect();
            queries_in_all += queries.len();
            let wrong = seen.wrong(&queries);
            if first.is_none() && !wrong.is_empty() {
                let padding = |row| comparison.region().left_padding(row);
                first = Some(diverging(
                    model,
                    &site,
                    &seen,
                    &wrong,
                    queries.len(),
                    padding,
                ));
            }
        }
        let message = format!(
            "{queries_in_all} of {queries_in_all} queries see the keys that they see in the reference"
        );
        let verdict = first.unwrap_or_else(|| Verdict::new(Severity::Info, message));
        Ok(Judgement::Verdict(verdict))
    }
}

/// The attention of one block, and what shows who sees whom there.
struct Site {
    name: String,
    shown: Shown,
    mask: Mask,
}

impl Site {
    fn quantity(&self) -> Quantity {
        Quantity::hook(self.shown.hook(&self.name))
    }
}

fn sites<'a>(model: &'a ModelInfo, stimulus: &'a Stimulus) -> impl Iterator<Item = Site> + 'a {
    attentions(model).filter_map(|(name, attention)| {
        let shown = Shown::best(model, stimulus, &name)?;
        Some(Site {
            name,
            shown,
            mask: attention.mask,
        })
    })
}

/// What both see in one block.
struct Seen {
    expected: Sight,
    found: Sight,
    /// The weight up to which a key may be seen or not.
    floor: f64,
}

impl Seen {
    fn wrong(&self, queries: &[Query]) -> Vec<Query> {
        let is_wrong = |query: &&Query| {
            self.expected.shape() != self.found.shape()
                || !self.found.agrees(&self.expected, **query, self.floor)
        };
        queries.iter().filter(is_wrong).copied().collect()
    }
}

fn diverging(
    model: &ModelInfo,
    site: &Site,
    seen: &Seen,
    wrong: &[Query],
    queries: usize,
    left_padding: impl Fn(usize) -> usize,
) -> Verdict {
    let (shape, found) = (seen.expected.shape(), seen.found.shape());
    let reason = match wrong.first() {
        Some(&query) if shape == found => {
            let Query { row, head, pos } = query;
            let (found, expected) = (seen.found.keys(query), seen.expected.keys(query));
            format!(
                "query {pos} of row {row}, head {head}, sees {found} where the reference sees {expected}"
            )
        }
        _ => format!("expected shape {shape:?}, found {found:?}"),
    };
    let count = format!("{} of {queries} queries of the block", wrong.len());
    let verdict = other_set(model, &site.name, site.quantity(), reason, count);
    if let Some(&query) = wrong.first().filter(|_| shape == found) {
        let [.., keys] = shape;
        let padding = left_padding(query.row);
        let sees = |key: &usize| site.mask.sees_behind(padding, query.pos, *key);
        let by_spec = Keys((0..keys).filter(sees).collect());
        return verdict.detail("by the spec's mask", format!("{by_spec}, less padding"));
    }
    verdict
}
