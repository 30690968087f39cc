//! Feature by feature against HuggingFace's own models, whose answers `make.py` keeps in `answers.json`.

mod answers;
mod early;
mod experts;
mod laws;
mod llama;
mod parallel;

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{Activation, ResidualSource, RotaryScaling};

use self::early::{bloom, gpt2, opt};
use self::llama::{longrope, scaled, yarn};

const D_MODEL: usize = 16;
const D_MLP: usize = 10;
const D_VOCAB: usize = 11;
const N_CTX: usize = 16;

/// The name of a feature, and the model that has it.
type Feature = (&'static str, fn() -> ModelSpec);

/// Those of `MODELS` in `make.py`.
const FEATURES: [Feature; 29] = [
    ("rotary", || scaled(&RotaryScaling::None)),
    ("linear", || scaled(&RotaryScaling::Linear { factor: 4.0 })),
    ("dynamic", || {
        scaled(&RotaryScaling::Dynamic {
            factor: 3.0,
            original_n_ctx: 4,
        })
    }),
    // What HuggingFace makes of a factor of 4.
    ("yarn", || yarn(true, 0.1 * 4.0_f64.ln() + 1.0)),
    ("yarn_not_truncated", || yarn(false, 1.25)),
    ("llama3", || {
        scaled(&RotaryScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 2.0,
            original_n_ctx: 32,
        })
    }),
    ("longrope", || longrope(4)),
    ("longrope_short", || longrope(8)),
    ("window", llama::mistral),
    ("head_norms", llama::qwen3),
    ("all_heads_norms", llama::olmo2),
    ("norms_after_rotation", llama::hunyuan),
    ("clip", llama::olmo),
    ("partial_rotary", parallel::phi),
    ("fused_heads", parallel::gpt_neox),
    ("interleaved", parallel::cohere),
    ("sandwich_and_caps", llama::gemma2),
    ("alibi", || {
        bloom(&POWERS_OF_A_QUARTER, ResidualSource::Stream)
    }),
    ("alibi_of_five_heads", || {
        // After the slopes of four heads, every other one of those of eight.
        let slopes = [&POWERS_OF_A_QUARTER[..], &[0.5]].concat();
        bloom(&slopes, ResidualSource::Stream)
    }),
    ("post_norm_residual", || {
        bloom(&POWERS_OF_A_QUARTER, ResidualSource::Input)
    }),
    ("positions_and_quick_gelu", || gpt2(Activation::QuickGelu)),
    ("offset_positions_and_relu", || opt(false)),
    ("norms_of_sums", || opt(true)),
    ("offset_layer_norm_and_relu_squared", parallel::nemotron),
    ("multipliers", llama::granite),
    ("renormalised_experts", experts::mixtral),
    ("experts_as_they_are", experts::olmoe),
    ("scored_after_the_choice", experts::granite_moe),
    ("sigmoid_bias_and_shared", experts::glm4_moe),
];

/// ALiBi's slopes of four heads.
const POWERS_OF_A_QUARTER: [f64; 4] = [0.25, 0.0625, 0.015_625, 0.003_906_25];

fn spec_of(feature: &str) -> ModelSpec {
    let (_, spec) = FEATURES.iter().find(|(name, _)| *name == feature).unwrap();
    spec()
}
