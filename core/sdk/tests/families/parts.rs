//! What families share.

use tlbench_sdk::spec::{Pairing, PositionSpec, RotaryScaling, RotarySpec};

pub(crate) fn rotary(dim: usize, theta: f64, scaling: RotaryScaling) -> PositionSpec {
    PositionSpec::Rotary(RotarySpec {
        dim,
        pairing: Pairing::Half,
        theta,
        scaling,
    })
}
