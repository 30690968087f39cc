//! Texts that go on: the likeliest tokens, and drawn ones.
//!
//! `cargo run --release --workspace --example generation [TEXT ..]`

use std::error::Error;
use std::io::{self, Write};

use tlbench::{DType, Suite};
use tlbench_sdk::{GenerateRequest, Padding, Sampling, Stimulus};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut prompts: Vec<String> = std::env::args().skip(1).collect();
    if prompts.is_empty() {
        prompts = [
            "And the LORD said unto",
            "And it came to pass",
            "Jesus answered",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    let model = Suite::of_model("architectures/gpt2/fixtures/trained")?.model()?;
    let bridge = model.bridge(DType::F32)?;
    let tokenizer = model.folder.tokenizer()?;
    let drawn = Sampling::Temperature {
        temperature: 0.7,
        seed: 1,
    };
    for sampling in [Sampling::Greedy, drawn] {
        // A text ends where the model says so, or where its context does.
        let request = GenerateRequest {
            max_new_tokens: 64,
            stop_tokens: model.folder.stop_tokens()?,
            use_cache: true,
            sampling,
        };
        for prompt in &prompts {
            let tokens = tokenizer.encode(prompt)?;
            let inputs = Stimulus::from_rows(prompt, &[tokens], Padding::Left, 0)?
                .request
                .inputs;
            let generated = bridge.generate(&inputs, &request)?;
            let text = tokenizer.decode(generated.as_slice().unwrap_or_default())?;
            writeln!(out, "{prompt}|{text}")?;
        }
    }
    Ok(())
}
