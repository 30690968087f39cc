//! One run of the suite for each fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::thread;

use faults::{FAULTS, Fault};
use serde_json::Value;
use toml::Table;

use crate::support::built::plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;
use crate::support::shipped_config::{plugins_of, shipped_config};

const SUBJECT: &str = "faulty-subject";

/// The benchmarks that ask nobody: they are about the adapter, and what is wrong here is the subject.
const OF_THE_ADAPTER: [&str; 2] = ["checkpoint_coverage", "config_coverage"];

/// A benchmark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Benchmark {
    pub(super) module: String,
    pub(super) name: String,
}

/// What the suite makes of one fault.
pub(super) struct Judged {
    pub(super) fault: &'static Fault,
    pub(super) planned: BTreeSet<Benchmark>,
    /// How many checks fail, or cannot run.
    pub(super) red: BTreeMap<Benchmark, usize>,
    /// Every check that is neither INFO nor red.
    pub(super) unpassed: Vec<String>,
}

/// What the suite makes of every fault.
pub(super) fn judged() -> &'static [Judged] {
    static JUDGED: OnceLock<Vec<Judged>> = OnceLock::new();
    JUDGED.get_or_init(|| {
        let waiting = Mutex::new(FAULTS.iter().enumerate());
        let finished = Mutex::new(BTreeMap::new());
        // A process each, of one thread.
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let next = || waiting.lock().unwrap().next();
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some((index, fault)) = next() {
                        let judged = judge(fault);
                        finished.lock().unwrap().insert(index, judged);
                    }
                });
            }
        });
        finished.into_inner().unwrap().into_values().collect()
    })
}

fn judge(fault: &'static Fault) -> Judged {
    let config = config(fault);
    let test = plugins_of(&config)
        .into_iter()
        .chain(["tlbench_gpt2".to_owned()])
        .map(|name| plugin(&name))
        .chain([plugin("faulty_subject")])
        .fold(CliTest::without_plugins(), CliTest::plugin)
        .variable("RAYON_NUM_THREADS", "1");
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    let run = test.run(["--format", "json", "--quiet"]);
    let code = if fault.edits.is_empty() { 0 } else { 100 };
    Judged::new(fault, &run.exits(code))
}

/// The shipped config for the one checkpoint, with the fault on trial.
fn config(fault: &Fault) -> Table {
    let mut config = shipped_config();
    let checkpoint = fixture("").display().to_string();
    let models = config["models"].as_array_mut().unwrap();
    models.retain(|model| model["path"].as_str() == Some(&checkpoint));
    assert!(!models.is_empty());
    for model in models {
        let model = model.as_table_mut().unwrap();
        model.insert("subject".into(), SUBJECT.into());
    }
    let option = Table::from_iter([("fault".to_owned(), fault.id.into())]);
    let reference = Table::from_iter([(SUBJECT.to_owned(), option.into())]);
    config.insert("reference".into(), reference.into());
    config
}

impl Judged {
    fn new(fault: &'static Fault, run: &Run) -> Self {
        let mut judged = Self {
            fault,
            planned: BTreeSet::new(),
            red: BTreeMap::new(),
            unpassed: Vec::new(),
        };
        for (check, told) in run.events("check_finished").iter().zip(run.checks()) {
            let text = |key: &str| check["check"][key].as_str().unwrap().to_owned();
            let benchmark = Benchmark {
                module: text("module"),
                name: text("benchmark"),
            };
            // What does not apply to this model is held to the mistakes of others.
            let applies = check["severity"] != "skipped";
            if applies && !OF_THE_ADAPTER.contains(&benchmark.name.as_str()) {
                judged.planned.insert(benchmark.clone());
            }
            match &check["severity"] {
                Value::String(severity) if severity == "info" => {}
                Value::String(severity) if severity == "danger" || severity == "error" => {
                    *judged.red.entry(benchmark).or_default() += 1;
                }
                _ => judged.unpassed.push(told),
            }
        }
        judged
    }
}
