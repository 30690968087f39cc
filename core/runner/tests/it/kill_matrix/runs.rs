//! One run of the suite for each fault of a subject.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::thread;

use faults::{FAULTS, Fault};
use serde_json::Value;
use toml::Table;

use super::zoo;
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
    pub(super) id: String,
    /// Goes on from "the subject has".
    pub(super) description: String,
    pub(super) planned: BTreeSet<Benchmark>,
    /// How many checks fail, or cannot run.
    pub(super) red: BTreeMap<Benchmark, usize>,
    /// Every check that is neither INFO nor red.
    pub(super) unpassed: Vec<String>,
}

/// What the suite makes of no fault, of those that the zoo has, and of others.
pub(super) fn judged() -> &'static [Judged] {
    static JUDGED: OnceLock<Vec<Judged>> = OnceLock::new();
    JUDGED.get_or_init(|| {
        let mut judged = of_subjects();
        let of_the_zoo = zoo::judged(&judged[0].planned);
        judged.splice(1..1, of_the_zoo);
        judged
    })
}

/// What it makes of a subject with each fault that no model has; the first has none.
fn of_subjects() -> Vec<Judged> {
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
}

fn judge(fault: &Fault) -> Judged {
    let config = on_trial(config(), fault);
    let test = suite(&config).plugin(plugin("faulty_subject"));
    let test = test.variable("RAYON_NUM_THREADS", "1");
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    let run = test.run(["--format", "json", "--quiet"]);
    let code = if fault.edits.is_empty() { 0 } else { 100 };
    Judged::new(fault, &run.exits(code))
}

/// With all that judges the one checkpoint by `config`.
pub(super) fn suite(config: &Table) -> CliTest {
    let plugins = plugins_of(config).into_iter();
    plugins
        .chain(["tlbench_gpt2".to_owned()])
        .map(|name| plugin(&name))
        .fold(CliTest::without_plugins(), CliTest::plugin)
}

/// The shipped config for the one checkpoint.
pub(super) fn config() -> Table {
    let mut config = shipped_config();
    let checkpoint = fixture("").display().to_string();
    let models = config["models"].as_array_mut().unwrap();
    models.retain(|model| model["path"].as_str() == Some(&checkpoint));
    assert!(!models.is_empty());
    config
}

/// The same with the fault on trial.
fn on_trial(mut config: Table, fault: &Fault) -> Table {
    for model in config["models"].as_array_mut().unwrap() {
        let model = model.as_table_mut().unwrap();
        model.insert("subject".into(), SUBJECT.into());
    }
    let option = Table::from_iter([("fault".to_owned(), fault.id.into())]);
    let reference = Table::from_iter([(SUBJECT.to_owned(), option.into())]);
    config.insert("reference".into(), reference.into());
    config
}

impl Judged {
    /// By nobody yet.
    pub(super) const fn unseen(id: String, description: String) -> Self {
        Self {
            id,
            description,
            planned: BTreeSet::new(),
            red: BTreeMap::new(),
            unpassed: Vec::new(),
        }
    }

    fn new(fault: &Fault, run: &Run) -> Self {
        let mut judged = Self::unseen(fault.id.to_owned(), fault.description.to_owned());
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
