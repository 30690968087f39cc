//! GPT-2 with the mistakes that ports of it make: the real adapter, and one edit of the spec that it returns.

#[path = "../../../../../../architectures/gpt2/src/adapter.rs"]
mod adapter;
mod faults;

use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [
        Faulty("gpt2-no-fault", |_| ()),
        Faulty("gpt2-eps", faults::eps),
        Faulty("gpt2-exact-gelu", faults::exact_gelu),
        Faulty("gpt2-dropped-bias", faults::dropped_bias),
        Faulty("gpt2-transposed-weight", faults::transposed_weight),
        Faulty("gpt2-shifted-positions", faults::shifted_positions),
        Faulty("gpt2-unscaled-attention", faults::unscaled_attention),
        Faulty("gpt2-shifted-mask", faults::shifted_mask),
        Faulty("gpt2-swapped-q-and-k", faults::swapped_q_and_k),
        Faulty("gpt2-interleaved-heads", faults::interleaved_heads),
        Faulty("gpt2-dropped-final-norm", faults::dropped_final_norm),
        Faulty("gpt2-weak-eps", faults::weak_eps),
        Faulty("gpt2-weak-bias", faults::weak_bias),
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
        let mut spec = adapter::Gpt2.spec(config)?;
        (self.1)(&mut spec);
        Ok(spec)
    }
}
