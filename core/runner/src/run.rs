//! A whole run: the chosen benchmarks on every model.

use std::time::Instant;

use crate::config::Config;
use crate::events::{Event, EventSink};
use crate::plugins::Registry;
use crate::selection::{SelectionError, choose};
use crate::session::Session;

/// Runs what `config` asks for with what `registry` offers, and tells `sink` what happens.
///
/// # Errors
/// If a benchmark is asked for that nobody offers; nothing has run then.
pub fn run(
    config: &Config,
    registry: &Registry,
    sink: &dyn EventSink,
) -> Result<(), SelectionError> {
    let benchmarks = choose(config, registry)?;
    let started = Instant::now();
    sink.emit(Event::RunStarted {
        version: env!("CARGO_PKG_VERSION").into(),
        device: config.run.device.to_string(),
        judging: config.run.judging,
    });
    report_problems(registry, sink);
    let reference_options = |id: &str| config.reference_options(id);
    for entry in &config.models {
        let session = Session {
            entry,
            run: &config.run,
            registry,
            benchmarks: &benchmarks,
            reference_options: &reference_options,
            sink,
        };
        session.run();
    }
    sink.emit(Event::RunFinished {
        seconds: started.elapsed().as_secs_f64(),
    });
    Ok(())
}

/// Tells what could not be loaded.
fn report_problems(registry: &Registry, sink: &dyn EventSink) {
    for problem in &registry.problems {
        sink.emit(Event::PluginProblem {
            file: problem.path.clone(),
            message: problem.error.to_string(),
            fatal: problem.is_fatal(),
        });
    }
}
