//! GPT-2 with the mistakes that ports of it make: the real adapter, and one edit of the spec that it returns.

#[path = "../../../../../../architectures/gpt2/src/adapter.rs"]
mod adapter;

use faults::spec;
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [
        Faulty("gpt2-no-fault", |_| ()),
        Faulty("gpt2-eps", spec::eps),
        Faulty("gpt2-exact-gelu", spec::exact_gelu),
        Faulty("gpt2-dropped-bias", spec::dropped_bias),
        Faulty("gpt2-transposed-weight", spec::transposed_weight),
        Faulty("gpt2-shifted-positions", spec::shifted_positions),
        Faulty("gpt2-unscaled-attention", spec::unscaled_attention),
        Faulty("gpt2-shifted-mask", spec::shifted_mask),
        Faulty("gpt2-swapped-q-and-k", spec::swapped_q_and_k),
        Faulty("gpt2-interleaved-heads", spec::interleaved_heads),
        Faulty("gpt2-dropped-final-norm", spec::dropped_final_norm),
        Faulty("gpt2-weak-eps", spec::weak_eps),
        Faulty("gpt2-weak-bias", spec::weak_bias),
    ],
}

/// A name by which configs ask for it, and what is wrong.
struct Faulty(&'static str, fn(&mut ModelSpec));

impl ArchitectureAdapter for Faulty {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: self.0.into(),
            description: "GPT-2 with a mistake".into(),
            model_types: Vec::new(),
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let mut right = adapter::Gpt2.spec(config)?;
        (self.1)(&mut right);
        Ok(right)
    }
}
