//! Closures at hooks, and a cache: a model from Rust as TransformerLens's users know it from Python.
//!
//! `cargo run --release --workspace --example hooks`

use std::error::Error;
use std::io::{self, Write};

use tlbench::{DType, Suite};
use tlbench_engine::{CacheOptions, Hooks};
use tlbench_sdk::{Padding, Quantity, Stimulus, Tensor, TraceRequest};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let model = Suite::of_model("architectures/gpt2/fixtures/tiny")?.model()?;
    let bridge = model.bridge(DType::F32)?;
    let tokens = model.folder.tokenizer()?.encode("The quick brown fox")?;
    let inputs = Stimulus::from_rows("fox", &[tokens], Padding::Right, 0)?
        .request
        .inputs;

    // What a head does to the loss: without it, and with it.
    let loss = TraceRequest::new(inputs.clone(), vec![Quantity::Loss]);
    let with = bridge.run(&loss)?.values[&Quantity::Loss].to_f64_vec()[0];
    let ablated = Hooks::new().forward("blocks.0.attn.hook_z", |z, hook| {
        let [_, _, heads, d_head] = *z.shape() else {
            return Err(format!("{} has no heads", hook.name).into());
        };
        let mut values = z.as_slice::<f32>().unwrap_or_default().to_vec();
        for position in values.chunks_mut(heads * d_head) {
            position[..d_head].fill(0.0);
        }
        Ok(Some(Tensor::from_vec(values, z.shape())?))
    });
    let trace = bridge.run_with_hooks(&loss, ablated)?;
    let without = trace.values[&Quantity::Loss].to_f64_vec()[0];
    writeln!(
        out,
        "loss {with:.2}, without head 0 of block 0 {without:.2}"
    )?;

    // What each component writes to the stream, as the final norm sees it.
    let options = CacheOptions::new().remove_batch_dim();
    let (_, cache) = bridge.run_with_cache(inputs, &options)?;
    let parts = cache.decompose_resid(None)?;
    let normed = cache.apply_ln_to_stack(&parts, "ln_final")?;
    let values = normed.values.to_f64_vec();
    for (label, part) in normed
        .labels
        .iter()
        .zip(values.chunks(values.len() / normed.labels.len()))
    {
        let norm = part.iter().map(|value| value * value).sum::<f64>().sqrt();
        writeln!(out, "{label:<12} {norm:.1}")?;
    }
    Ok(())
}
