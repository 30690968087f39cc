//! Times the generation of a checkpoint, token by token, with a cache and without.
//!
//! ```sh
//! tlbench inspect FOLDER --format json --output /tmp/model.json
//! cargo run --release -p tlbench-engine --example time_generate -- FOLDER /tmp/model.json 73 20
//! ```
#![expect(
    clippy::print_stdout,
    reason = "an example that prints what it measures"
)]

use std::error::Error;
use std::time::Instant;

use tlbench_checkpoint::ModelFolder;
use tlbench_engine::Bridge;
use tlbench_sdk::{DType, GenerateRequest, ModelSpec, Padding, Sampling, Stimulus};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inspected, prompt, new] = arguments.as_slice() else {
        return Err("usage: time_generate FOLDER INSPECTED.json PROMPT_TOKENS NEW_TOKENS".into());
    };
    let inspected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(inspected)?)?;
    let spec: ModelSpec = serde_json::from_value(inspected["spec"].clone())?;
    let folder = ModelFolder::open(folder)?;
    let bridge = Bridge::open(&spec, folder.weights(), DType::F32)?;
    let row: Vec<i64> = (0..prompt.parse::<i64>()?)
        .map(|i| i * 31 % spec.d_vocab as i64)
        .collect();
    let inputs = Stimulus::from_rows("timed", &[row], Padding::Left, 0)?
        .request
        .inputs;
    let new: usize = new.parse()?;
    let seconds = |max_new_tokens: usize, use_cache: bool| -> Result<f64, Box<dyn Error>> {
        let started = Instant::now();
        bridge.generate(
            &inputs,
            &GenerateRequest {
                max_new_tokens,
                stop_tokens: Vec::new(),
                use_cache,
                sampling: Sampling::Greedy,
            },
        )?;
        Ok(started.elapsed().as_secs_f64())
    };
    seconds(1, true)?;
    for use_cache in [true, false] {
        let prompt = seconds(1, use_cache)?;
        let step = (seconds(new + 1, use_cache)? - prompt) / new as f64;
        println!(
            "use_cache {use_cache}: prompt {prompt:.3} s, then {step:.4} s a token, {:.1} tokens/s",
            1.0 / step
        );
    }
    Ok(())
}
