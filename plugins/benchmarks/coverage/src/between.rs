//! What lies between the queries or keys that a hook shows and those that are turned or multiplied.

use tlbench_sdk::spec::{AttentionSpec, Extent, HeadNorm};

/// A gain and a bias that no hook shows, and a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Between {
    affine: Option<Affine>,
    clip: Option<f64>,
}

/// What a norm does to its normalised value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Affine {
    extent: Extent,
    has_bias: bool,
}

/// Values as `[token, head, channel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) width: usize,
}

impl Heads {
    /// The token that element `at` belongs to.
    pub(crate) const fn token(self, at: usize) -> usize {
        at / (self.count * self.width)
    }
}

impl Between {
    /// Behind `norm`, or where there is none behind the projection.
    pub(crate) fn of(attention: &AttentionSpec, norm: Option<&HeadNorm>) -> Self {
        let affine = norm
            .filter(|norm| norm.norm.gain.is_some())
            .map(|norm| Affine {
                extent: norm.extent,
                has_bias: norm.norm.bias.is_some(),
            });
        Self {
            affine,
            clip: attention.clip_qkv,
        }
    }

    /// What becomes of `shown`. Gains and biases are those that fit `wanted` best at the tokens that `counts` names.
    pub(crate) fn applied(
        self,
        shown: &[f64],
        wanted: &[f64],
        heads: Heads,
        counts: impl Fn(usize) -> bool,
    ) -> Vec<f64> {
        let mut values = shown.to_vec();
        if let Some(affine) = self.affine {
            let channels = match affine.extent {
                Extent::Head => heads.width,
                Extent::AllHeads => heads.count * heads.width,
            };
            let mut lines = vec![Line::default(); channels];
            for (at, (&x, &y)) in shown.iter().zip(wanted).enumerate() {
                if counts(heads.token(at)) && !self.is_clipped(y) {
                    lines[at % channels].add(x, y);
                }
            }
            for (at, value) in values.iter_mut().enumerate() {
                *value = lines[at % channels].at(*value, affine.has_bias);
            }
        }
        if let Some(limit) = self.clip {
            values
                .iter_mut()
                .for_each(|value| *value = value.clamp(-limit, limit));
        }
        values
    }

    /// Whether a value may be the bound, and so tell nothing of the gain.
    fn is_clipped(self, value: f64) -> bool {
        self.clip
            .is_some_and(|limit| value.abs() > limit * (1.0 - 1e-5))
    }
}

/// The straight line through points, by least squares.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    fn at(&self, x: f64, has_offset: bool) -> f64 {
        let quotient = |over: f64, under: f64| if under == 0.0 { 0.0 } else { over / under };
        if !has_offset {
            return x * quotient(self.xy, self.xx);
        }
        let spread = self.count * self.xx - self.x * self.x;
        let slope = quotient(self.count * self.xy - self.x * self.y, spread);
        slope * x + quotient(self.y - slope * self.x, self.count)
    }
}
