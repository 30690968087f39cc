//! A whole run: the chosen benchmarks on every model.

use std::time::Instant;

use globset::{Glob, GlobMatcher};
use serde_json::{Map, Value};
use tlbench_sdk::Benchmark;

use crate::config::{BenchmarkEntry, Config};
use crate::events::{Event, EventSink};
use crate::plugins::Registry;
use crate::session::{ChosenBenchmark, Session};

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// No benchmark of that name.
    #[error(
        "benchmark `{name}`: expected the name, the module or a glob of one of {known}, found none that matches"
    )]
    UnknownBenchmark {
        /// As it was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A glob that is none.
    #[error("benchmark `{name}`: {reason}")]
    BadGlob {
        /// As it was asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

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
    let reference_options = |id: &str| config.references.get(id).map(to_json).unwrap_or_default();
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
pub(crate) fn report_problems(registry: &Registry, sink: &dyn EventSink) {
    for problem in &registry.problems {
        sink.emit(Event::PluginProblem {
            file: problem.path.clone(),
            message: problem.error.to_string(),
            fatal: problem.is_fatal(),
        });
    }
}

/// The benchmarks that some entry selects, sorted by module and name, each with the options of all entries that match.
fn choose<'a>(
    config: &Config,
    registry: &'a Registry,
) -> Result<Vec<ChosenBenchmark<'a>>, SelectionError> {
    let entries = config
        .benchmarks
        .iter()
        .map(|entry| Ok((entry, matcher(&entry.name)?)))
        .collect::<Result<Vec<(&BenchmarkEntry, GlobMatcher)>, SelectionError>>()?;
    let offers = || registry.benchmarks.values().map(|offer| &offer.object);
    let matches = |glob: &GlobMatcher, benchmark: &dyn Benchmark| {
        let info = benchmark.info();
        glob.is_match(&info.id)
            || glob.is_match(&info.module)
            || glob.is_match(format!("{}/{}", info.module, info.id))
    };
    for (entry, glob) in &entries {
        // Everything that there is may be nothing.
        if entry.name != "*" && !offers().any(|benchmark| matches(glob, benchmark)) {
            let known: Vec<String> = offers().map(|benchmark| benchmark.info().id).collect();
            return Err(SelectionError::UnknownBenchmark {
                name: entry.name.clone(),
                known: known.join(", "),
            });
        }
    }
    let mut chosen: Vec<ChosenBenchmark<'a>> = offers()
        .filter_map(|benchmark| {
            let matching: Vec<_> = entries
                .iter()
                .filter(|(_, glob)| matches(glob, benchmark))
                .collect();
            let options = matching
                .iter()
                .flat_map(|(entry, _)| to_json(&entry.options))
                .collect();
            let selected = matching.iter().any(|(entry, _)| entry.selects);
            selected.then_some(ChosenBenchmark {
                benchmark: benchmark as &dyn Benchmark,
                options,
            })
        })
        .collect();
    chosen.sort_by_key(|chosen| {
        let info = chosen.benchmark.info();
        (info.module, info.id)
    });
    Ok(chosen)
}

fn matcher(name: &str) -> Result<GlobMatcher, SelectionError> {
    let glob = Glob::new(name);
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| SelectionError::BadGlob {
            name: name.to_owned(),
            reason: error.kind().to_string(),
        })
}

fn to_json(table: &toml::Table) -> Map<String, Value> {
    match serde_json::to_value(table) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
