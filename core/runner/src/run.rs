//! A whole run: the chosen benchmarks on every model.

use std::time::Instant;

use tlbench_sdk::host::MODELS_AT_ONCE;

use crate::config::Config;
use crate::events::{Event, EventSink};
use crate::in_order::{InOrder, in_lanes, lanes};
use crate::plugins::Registry;
use crate::room::Room;
use crate::selection::{SelectionError, choose};
use crate::session::Session;

/// Runs what `config` asks for with what `registry` offers, and tells `sink` what happens. Small models are judged at the
/// same time, as many as there are processors; what is told stands in the order of the config all the same.
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
    let (order, room) = (InOrder::new(sink), Room::default());
    let judge = |index: usize| {
        let session = Session {
            entry: &config.models[index],
            run: &config.run,
            registry,
            benchmarks: &benchmarks,
            reference_options: &reference_options,
            room: &room,
            sink: &order.party(index),
        };
        session.run();
        order.finish(index);
    };
    let panicked = |index: usize, message: String| {
        let model = config.models[index].name.clone();
        let message = format!("tlbench panicked: {message}");
        let failed = Event::ModelFailed { model, message };
        order.party(index).emit(failed);
        order.finish(index);
    };
    let at_once = lanes().min(MODELS_AT_ONCE);
    in_lanes(config.models.len(), at_once, judge, panicked);
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
