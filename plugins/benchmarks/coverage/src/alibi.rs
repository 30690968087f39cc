//! The slopes by which scores grow with the key's position.

use tlbench_sdk::judge::{answer_of, stimulus, truth_of, wrong_count};
use tlbench_sdk::spec::{AttentionSpec, PositionSpec};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Quantity, Stimulus,
    Tensor, Trace,
};

use crate::MODULE;
use crate::between::{Between, Heads};
use crate::checks::of_plain_inputs;
use crate::layers::attentions;
use crate::table::{Behind, Pair, judge};

/// Scores grow with the key's position by the slopes of the spec.
pub(crate) struct AlibiSlopes;

impl Benchmark for AlibiSlopes {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "alibi_slopes",
            MODULE,
            "the scores of each head grow with the key's position by the slope of the spec",
        )
        .explained(include_str!("explained/alibi_slopes.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        if sites(model).next().is_none() {
            return Err(PluginError::unsupported(
                "no block adds a linear bias to plain products of queries and keys",
            ));
        }
        let what = "queries and keys together with their scores";
        of_plain_inputs(model, what, |stimulus| {
            let sites = shown_sites(model, stimulus);
            sites
                .flat_map(|site| HOOKS.map(|hook| site.hook(hook)))
                .collect()
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
                    reference: site.biased(|quantity| truth_of(truth, quantity))?,
                    subject: site.biased(|quantity| answer_of(subject, quantity))?,
                })
            })
            .collect::<Result<Vec<_>, PluginError>>()?;
        let verdict = judge(model, &stimulus.request, truth, &pairs, "tables of slopes")?;
        Ok(Judgement::Verdict(verdict))
    }
}

/// Queries, keys, and their scores.
const HOOKS: [&str; 3] = ["hook_q", "hook_k", "hook_attn_scores"];

/// The attention of one block with biases.
struct Site<'a> {
    name: String,
    attention: &'a AttentionSpec,
    slopes: &'a [f64],
}

/// Those whose scores are products, bias and mask alone.
fn sites(model: &ModelInfo) -> impl Iterator<Item = Site<'_>> {
    attentions(model).filter_map(|(name, attention)| {
        let PositionSpec::Alibi(alibi) = &attention.position else {
            return None;
        };
        let is_plain = attention.qk_norm.is_none() && attention.softcap.is_none();
        is_plain.then_some(Site {
            name,
            attention,
            slopes: &alibi.slopes,
        })
    })
}

fn shown_sites<'a>(model: &'a ModelInfo, stimulus: &'a Stimulus) -> impl Iterator<Item = Site<'a>> {
    sites(model).filter(move |site| HOOKS.iter().all(|hook| stimulus.shows(&site.hook(hook))))
}

impl Site<'_> {
    fn hook(&self, hook: &str) -> Quantity {
        Quantity::hook(format!("{}.{hook}", self.name))
    }

    fn biased<'t>(
        &self,
        value: impl Fn(&Quantity) -> Result<&'t Tensor, PluginError>,
    ) -> Result<Biased<'t>, PluginError> {
        let [q, k, scores] = HOOKS.map(|hook| value(&self.hook(hook)));
        let (q, k, scores) = (q?, k?, scores?);
        let sizes = |tensor: &Tensor| <[usize; 4]>::try_from(tensor.shape()).ok();
        let unfit = || {
            PluginError::invalid_input(format!(
                "{}: scores {:?} of queries {:?} and keys {:?}",
                self.name,
                scores.shape(),
                q.shape(),
                k.shape()
            ))
        };
        let [batch, pos, heads, width] = sizes(q).ok_or_else(unfit)?;
        let [_, keys, kv_heads, _] = sizes(k).ok_or_else(unfit)?;
        let fits = k.shape() == [batch, keys, kv_heads, width]
            && scores.shape() == [batch, heads, pos, keys]
            && kv_heads > 0
            && heads % kv_heads == 0
            && self.slopes.len() == heads;
        if !fits {
            return Err(unfit());
        }
        let bounded = |tensor: &Tensor, count: usize| {
            let (values, heads) = (tensor.to_f64_vec(), Heads { count, width });
            Between::of(self.attention, None).applied(&values, &values, heads, |_| true)
        };
        let (q, k) = (bounded(q, heads), bounded(k, kv_heads));
        let scores_of = scores.to_f64_vec();
        let mut products = Vec::with_capacity(scores_of.len());
        for row in 0..batch * heads * pos {
            let (sample, head, query) = (row / (heads * pos), row / pos % heads, row % pos);
            let q_at = ((sample * pos + query) * heads + head) * width;
            let kv_head = head / (heads / kv_heads);
            for key in 0..keys {
                let k_at = ((sample * keys + key) * kv_heads + kv_head) * width;
                let channels = q[q_at..q_at + width].iter().zip(&k[k_at..k_at + width]);
                let product: f64 = channels.map(|(q, k)| q * k).sum();
                products.push(self.attention.scale * product);
            }
        }
        Ok(Biased {
            name: format!("{}.hook_attn_scores", self.name),
            scores,
            found: scores_of,
            products,
            slopes: self.slopes.to_vec(),
        })
    }
}

/// Scores, and the products of queries and keys that they were made from.
struct Biased<'a> {
    name: String,
    scores: &'a Tensor,
    found: Vec<f64>,
    products: Vec<f64>,
    slopes: Vec<f64>,
}

/// What one query makes of the keys that it sees.
struct Row<'a> {
    found: &'a [f64],
    products: &'a [f64],
    head: usize,
}

impl Row<'_> {
    fn seen(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.found.len()).filter(|&key| self.found[key].is_finite())
    }

    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        let sum: f64 = self.seen().map(of).sum();
        sum / self.seen().count().max(1) as f64
    }

    fn bias(&self, key: usize) -> f64 {
        self.found[key] - self.products[key]
    }
}

impl Biased<'_> {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let (heads, pos, keys) = match *self.scores.shape() {
            [_, heads, pos, keys] => (heads, pos, keys.max(1)),
            _ => (1, 1, 1),
        };
        let rows = self.found.chunks(keys).zip(self.products.chunks(keys));
        rows.enumerate().map(move |(row, (found, products))| Row {
            found,
            products,
            head: row / pos % heads,
        })
    }

    /// The slope of each head, by least squares; 0 where no query sees two keys.
    fn measured(&self) -> Vec<f64> {
        let mut sums = vec![[0.0; 2]; self.slopes.len()];
        for row in self.rows() {
            let (middle, level) = (row.mean(|key| key as f64), row.mean(|key| row.bias(key)));
            for key in row.seen() {
                let x = key as f64 - middle;
                sums[row.head][0] += x * (row.bias(key) - level);
                sums[row.head][1] += x * x;
            }
        }
        let quotient = |[over, under]: [f64; 2]| if under == 0.0 { 0.0 } else { over / under };
        sums.into_iter().map(quotient).collect()
    }
}

impl Behind for Biased<'_> {
    fn hook(&self) -> &str {
        &self.name
    }

    fn found(&self) -> &Tensor {
        self.scores
    }

    /// Up to a constant for each query, which the softmax does not see.
    fn expected(&self) -> Result<Tensor, PluginError> {
        let mut expected = self.found.clone();
        let width = self.scores.shape().last().copied().unwrap_or(1).max(1);
        for (row, expected) in self.rows().zip(expected.chunks_mut(width)) {
            let by_slope = |key: usize| row.products[key] + self.slopes[row.head] * key as f64;
            let constant = row.mean(|key| row.found[key] - by_slope(key));
            for key in row.seen() {
                expected[key] = by_slope(key) + constant;
            }
        }
        Ok(Tensor::from_vec(expected, self.scores.shape())?)
    }

    fn observed(&self) -> String {
        let measured = self.measured();
        let apart = |head: usize| (measured[head] - self.slopes[head]).abs();
        let worst = (0..measured.len()).max_by(|&a, &b| apart(a).total_cmp(&apart(b)));
        let worst = worst.unwrap_or_default();
        format!(
            "head {worst} has the slope {:.6} where the spec has {:.6}",
            measured[worst], self.slopes[worst]
        )
    }
}
