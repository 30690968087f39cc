//! Times runs of a checkpoint, forward alone and with gradients, and tells how much memory they took.
//!
//! ```sh
//! tlbench inspect FOLDER --format json --output /tmp/model.json
//! cargo run --release -p tlbench-engine --example time_runs -- FOLDER /tmp/model.json 73
//! ```
#![expect(
    clippy::print_stdout,
    reason = "an example that prints what it measures"
)]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Instant;

use tlbench_checkpoint::ModelFolder;
use tlbench_engine::Bridge;
use tlbench_sdk::{
    DType, GradientRequest, ModelSpec, Objective, Padding, Quantity, Stimulus, TraceRequest,
};

const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inspected, tokens] = arguments.as_slice() else {
        return Err("usage: time_runs FOLDER INSPECTED.json TOKENS".into());
    };
    let inspected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(inspected)?)?;
    let spec: ModelSpec = serde_json::from_value(inspected["spec"].clone())?;
    let folder = ModelFolder::open(folder)?;
    let started = Instant::now();
    let bridge = Bridge::open(&spec, folder.weights(), DType::F32)?;
    println!(
        "open {:.3} s, {}",
        started.elapsed().as_secs_f64(),
        memory()
    );
    let row: Vec<i64> = (0..tokens.parse::<i64>()?)
        .map(|i| i * 31 % spec.d_vocab as i64)
        .collect();
    let stimulus = Stimulus::from_rows("timed", &[row], Padding::Right, 0)?;
    let forward = TraceRequest::new(stimulus.request.inputs, vec![Quantity::Logits]);
    time("forward", &bridge, &forward)?;
    let mut backward = forward.clone();
    backward.gradients = Some(GradientRequest {
        objective: Objective::Loss,
    });
    backward.capture = bridge
        .hooks()
        .iter()
        .filter(|hook| hook.gate.is_none())
        .map(|hook| Quantity::HookGradient(hook.name.clone()))
        .collect();
    time("gradients at every hook", &bridge, &backward)?;
    let names: BTreeSet<String> = spec
        .sources()
        .into_iter()
        .filter_map(|(_, source)| folder.weights().resolve(source).ok().map(str::to_owned))
        .collect();
    backward.capture = names.into_iter().map(Quantity::ParameterGradient).collect();
    time("gradients of every parameter", &bridge, &backward)?;
    Ok(())
}

fn time(what: &str, bridge: &Bridge, request: &TraceRequest) -> Result<(), Box<dyn Error>> {
    let mut seconds = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        bridge.run(request)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{what}: median {:.3} s, fastest {:.3} s, {}",
        seconds[RUNS / 2],
        seconds[0],
        memory()
    );
    Ok(())
}

/// The peak of resident memory, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or_else(
        || "peak memory unknown".to_owned(),
        |peak| format!("peak memory {}", peak.trim()),
    )
}
