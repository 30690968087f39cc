//! Attention written down a second time, one number after the other.

use tlbench_sdk::Tensor;
use tlbench_sdk::spec::{
    AttentionSpec, Extent, HeadNorm, Mask, NormOrder, Pairing, PositionSpec, RotaryScaling,
    RotarySpec,
};

/// `[head][channel]` of one position.
type Heads = Vec<Vec<f64>>;

/// What attention makes of `[pos, heads, d_head]`, without padding.
pub(super) struct Plain<'a> {
    pub(super) spec: &'a AttentionSpec,
    pub(super) q_gain: Option<Vec<f64>>,
    pub(super) k_gain: Option<Vec<f64>>,
}

impl Plain<'_> {
    /// `z`, flat, of one row's queries, keys and values.
    pub(super) fn z(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Vec<f64> {
        let [q, k, v] = [q, k, v].map(positions);
        let q = self.placed(q, self.q_gain.as_deref(), |spec| &spec.q);
        let k = self.placed(k, self.k_gain.as_deref(), |spec| &spec.k);
        let v: Vec<Heads> = v.into_iter().map(|v| self.clipped(v)).collect();
        let served = self.spec.n_heads / self.spec.n_kv_heads;
        let mut z = Vec::new();
        for (query, q) in q.iter().enumerate() {
            for head in 0..self.spec.n_heads {
                let scores: Vec<f64> = (0..k.len())
                    .map(|key| self.score(head, [query, key], &q[head], &k[key][head / served]))
                    .collect();
                let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                for channel in 0..self.spec.d_head {
                    let weighted = scores.iter().zip(&v);
                    let weighted = weighted.map(|(s, v)| s.exp() / sum * v[head / served][channel]);
                    z.push(weighted.sum());
                }
            }
        }
        z
    }

    fn score(&self, head: usize, [query, key]: [usize; 2], q: &[f64], k: &[f64]) -> f64 {
        let sees = match self.spec.mask {
            Mask::Band { back, .. } => key <= query && back.is_none_or(|back| query - key <= back),
            Mask::Chunked { size } => key <= query && key / size == query / size,
        };
        if !sees {
            return f64::NEG_INFINITY;
        }
        let mut score: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * self.spec.scale;
        if let Some(cap) = self.spec.softcap {
            score = (score / cap).tanh() * cap;
        }
        match &self.spec.position {
            PositionSpec::Alibi(alibi) => score + alibi.slopes[head] * key as f64,
            _ => score,
        }
    }

    fn placed(
        &self,
        positions: Vec<Heads>,
        gain: Option<&[f64]>,
        side: impl Fn(&tlbench_sdk::spec::HeadNorms) -> &HeadNorm,
    ) -> Vec<Heads> {
        let normed = |heads: Heads, order: NormOrder| match (&self.spec.qk_norm, gain) {
            (Some(norms), Some(gain)) if norms.order == order => {
                rms_normed(&heads, side(norms), gain)
            }
            _ => heads,
        };
        let place = |(position, heads): (usize, Heads)| {
            let heads = self.clipped(normed(heads, NormOrder::BeforeRotary));
            let heads = match &self.spec.position {
                PositionSpec::Rotary(rotary) => {
                    heads.iter().map(|x| turned(x, rotary, position)).collect()
                }
                _ => heads,
            };
            normed(heads, NormOrder::AfterRotary)
        };
        positions.into_iter().enumerate().map(place).collect()
    }

    fn clipped(&self, heads: Heads) -> Heads {
        let limit = self.spec.clip_qkv.unwrap_or(f64::INFINITY);
        let clip = |x: Vec<f64>| x.iter().map(|v| v.clamp(-limit, limit)).collect();
        heads.into_iter().map(clip).collect()
    }
}

fn positions(tensor: &Tensor) -> Vec<Heads> {
    let &[1, _, heads, d_head] = tensor.shape() else {
        panic!("{:?}", tensor.shape())
    };
    let values = tensor.to_f64_vec();
    let positions = values.chunks(heads * d_head);
    positions
        .map(|all| all.chunks(d_head).map(<[f64]>::to_vec).collect())
        .collect()
}

fn rms_normed(heads: &Heads, norm: &HeadNorm, gain: &[f64]) -> Heads {
    let normed = |x: &[f64], gain: &[f64]| -> Vec<f64> {
        let square = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
        let root = (square + norm.norm.eps).sqrt();
        let scaled = x.iter().zip(gain);
        scaled
            .map(|(v, g)| v / root * (g + norm.norm.gain_offset))
            .collect()
    };
    match norm.extent {
        Extent::Head => heads.iter().map(|x| normed(x, gain)).collect(),
        Extent::AllHeads => {
            let all = normed(&heads.concat(), gain);
            all.chunks(heads[0].len()).map(<[f64]>::to_vec).collect()
        }
    }
}

/// Each pair as a complex number times `e^(i angle)`.
fn turned(x: &[f64], spec: &RotarySpec, position: usize) -> Vec<f64> {
    let pairs = spec.dim / 2;
    let mut out = x.to_vec();
    for pair in 0..pairs {
        let frequency = spec.theta.powf(-2.0 * pair as f64 / spec.dim as f64);
        // Others are tested against transformers' own.
        let (frequency, factor) = match spec.scaling {
            RotaryScaling::None => (frequency, 1.0),
            _ => panic!("{:?}", spec.scaling),
        };
        let (a, b) = match spec.pairing {
            Pairing::Half => (pair, pair + pairs),
            Pairing::Interleaved => (2 * pair, 2 * pair + 1),
        };
        let (length, angle) = (x[a].hypot(x[b]), x[b].atan2(x[a]));
        let angle = angle + position as f64 * frequency;
        out[a] = factor * length * angle.cos();
        out[b] = factor * length * angle.sin();
    }
    out
}
