//! Queries or keys before and behind their rotation.

use std::f64::consts::PI;

use tlbench_sdk::spec::{Pairing, RotarySpec};
use tlbench_sdk::{PluginError, Tensor};

use super::rates::{length_factor, rates};
use crate::between::{Between, Heads};
use crate::table::Behind;

/// How far each pair of channels is turned per position.
pub(super) struct Table {
    rates: Vec<f64>,
    /// On the length of what is turned.
    factor: f64,
    pairing: Pairing,
}

/// What one party shows before and behind its rotation.
pub(super) struct Turned<'a> {
    hook: String,
    before: Vec<f64>,
    after: Vec<f64>,
    shown: &'a Tensor,
    between: Between,
    table: Table,
    heads: Heads,
    positions: &'a [i64],
    mask: &'a [i64],
}

impl Table {
    pub(super) fn new(spec: &RotarySpec, length: i64) -> Self {
        Self {
            rates: rates(spec, length),
            factor: length_factor(spec),
            pairing: spec.pairing,
        }
    }

    fn channels(&self, pair: usize, pairing: Pairing) -> [usize; 2] {
        match pairing {
            Pairing::Half => [pair, pair + self.rates.len()],
            Pairing::Interleaved => [2 * pair, 2 * pair + 1],
        }
    }

    /// Turns the values of one head at `position`, and stretches them by `factor`.
    fn turn(&self, head: &mut [f64], position: f64, pairing: Pairing, factor: f64) {
        for (pair, rate) in self.rates.iter().enumerate() {
            let (sin, cos) = (position * rate).sin_cos();
            let [a, b] = self.channels(pair, pairing);
            let (x, y) = (head[a], head[b]);
            head[a] = factor * (x * cos - y * sin);
            head[b] = factor * (y * cos + x * sin);
        }
    }
}

impl<'a> Turned<'a> {
    pub(super) fn new(
        hook: String,
        [before, after]: [&'a Tensor; 2],
        between: Between,
        table: Table,
        positions: &'a [i64],
        mask: &'a [i64],
    ) -> Result<Self, PluginError> {
        let fits = |&[_, _, count, width]: &[usize; 4]| {
            let tokens = after.len() / (count * width).max(1);
            before.len() == after.len()
                && tokens == positions.len()
                && tokens == mask.len()
                && 2 * table.rates.len() <= width
        };
        let shape = <[usize; 4]>::try_from(after.shape()).ok().filter(fits);
        let Some([_, _, count, width]) = shape else {
            return Err(PluginError::invalid_input(format!(
                "{hook}: expected heads of at least {} channels at {} tokens, found {:?} behind {:?}",
                2 * table.rates.len(),
                positions.len(),
                after.shape(),
                before.shape()
            )));
        };
        Ok(Self {
            hook,
            before: before.to_f64_vec(),
            after: after.to_f64_vec(),
            shown: after,
            between,
            table,
            heads: Heads { count, width },
            positions,
            mask,
        })
    }

    fn is_token(&self, token: usize) -> bool {
        self.mask[token] != 0
    }

    /// What the spec makes of what came before, with pairs that are formed in this way.
    fn by_spec(&self, pairing: Pairing) -> Vec<f64> {
        let factor = self.table.factor;
        let back = self.turned(&self.after, pairing, -1.0, 1.0 / factor);
        let met = self
            .between
            .applied(&self.before, &back, self.heads, |token| {
                self.is_token(token)
            });
        self.turned(&met, pairing, 1.0, factor)
    }

    fn turned(&self, values: &[f64], pairing: Pairing, direction: f64, factor: f64) -> Vec<f64> {
        let mut values = values.to_vec();
        for (row, head) in values.chunks_mut(self.heads.width).enumerate() {
            let position = self.positions[row / self.heads.count] as f64;
            self.table.turn(head, direction * position, pairing, factor);
        }
        values
    }

    /// The other way of forming pairs, if it explains what is shown.
    fn other_pairing(&self) -> Option<Pairing> {
        let other = match self.table.pairing {
            Pairing::Half => Pairing::Interleaved,
            Pairing::Interleaved => Pairing::Half,
        };
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let expected = self.by_spec(other);
        let apart = squares(&mut expected.iter().zip(&self.after).map(|(a, b)| a - b));
        (apart < 1e-8 * squares(&mut self.after.iter().copied())).then_some(other)
    }

    /// The rate of each pair and the factor on its length, as measured from token to token; `None` where no row begins at
    /// position 0, by which gains are known, or holds a next token.
    fn measured(&self) -> Option<(Vec<f64>, f64)> {
        let is_first = |token: usize| self.is_token(token) && self.positions[token] == 0;
        (0..self.positions.len()).find(|&token| is_first(token))?;
        let met = self
            .between
            .applied(&self.before, &self.after, self.heads, is_first);
        let pairs = 0..self.table.rates.len();
        let rates = pairs
            .map(|pair| self.rate_of(pair, &met))
            .collect::<Option<Vec<f64>>>()?;
        let turned: Vec<usize> = (0..rates.len())
            .flat_map(|pair| self.table.channels(pair, self.table.pairing))
            .collect();
        let length = |values: &[f64]| {
            let heads = values.chunks(self.heads.width);
            heads
                .flat_map(|head| turned.iter().map(|&c| head[c] * head[c]))
                .sum::<f64>()
                .sqrt()
        };
        Some((rates, length(&self.after) / length(&met)))
    }

    fn rate_of(&self, pair: usize, met: &[f64]) -> Option<f64> {
        let angle_of = |token: usize| self.product(pair, token, met);
        let mut sum = [0.0; 2];
        for token in 1..self.positions.len() {
            let is_next = self.positions[token] == self.positions[token - 1] + 1;
            if is_next && self.is_token(token) && self.is_token(token - 1) {
                let ([a, b], [c, d]) = (angle_of(token - 1), angle_of(token));
                sum[0] += a * c + b * d;
                sum[1] += a * d - b * c;
            }
        }
        (sum != [0.0; 2]).then(|| sum[1].atan2(sum[0]))
    }

    /// How far a pair is turned at a token, as a complex number, over all heads.
    fn product(&self, pair: usize, token: usize, met: &[f64]) -> [f64; 2] {
        let [a, b] = self.table.channels(pair, self.table.pairing);
        let Heads { count, width } = self.heads;
        let heads = (token * count..(token + 1) * count).map(|head| head * width);
        heads.fold([0.0; 2], |[re, im], head| {
            let (x, y) = (met[head + a], met[head + b]);
            let (u, v) = (self.after[head + a], self.after[head + b]);
            [re + u * x + v * y, im + v * x - u * y]
        })
    }
}

impl Behind for Turned<'_> {
    fn hook(&self) -> &str {
        &self.hook
    }

    fn found(&self) -> &Tensor {
        self.shown
    }

    fn expected(&self) -> Result<Tensor, PluginError> {
        let values = self.by_spec(self.table.pairing);
        Ok(Tensor::from_vec(values, self.shown.shape())?)
    }

    fn observed(&self) -> String {
        if let Some(other) = self.other_pairing() {
            let name = |pairing| {
                let pairs = (0..2.min(self.table.rates.len()))
                    .map(|pair| self.table.channels(pair, pairing));
                let pairs: Vec<String> = pairs.map(|[a, b]| format!("({a}, {b})")).collect();
                pairs.join(", ")
            };
            let (found, expected) = (name(other), name(self.table.pairing));
            return format!("it turns the pairs {found}, .. where the spec has {expected}, ..");
        }
        let Some((rates, factor)) = self.measured() else {
            return "its rates cannot be measured on this input".to_owned();
        };
        let apart = |pair: usize| {
            let apart = (rates[pair] - self.table.rates[pair]).abs();
            // A rate is known up to whole turns.
            apart.min((2.0 * PI - apart).abs())
        };
        let worst = (0..rates.len()).max_by(|&a, &b| apart(a).total_cmp(&apart(b)));
        let worst = worst.unwrap_or_default();
        if (factor / self.table.factor - 1.0).abs() > apart(worst) {
            let expected = self.table.factor;
            return format!("it stretches by {factor:.4} where the formula gives {expected:.4}");
        }
        format!(
            "pair {worst} turns by {:.6} per position where the formula gives {:.6}",
            rates[worst], self.table.rates[worst]
        )
    }
}
