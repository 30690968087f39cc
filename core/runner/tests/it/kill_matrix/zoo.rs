//! The mistakes that the zoo has, put into the bridge by `tlbench sensitivity`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::runs::{Benchmark, Judged, config, suite};
use crate::support::built::plugin;

/// In the order of the table.
const MISTAKES: [&str; 19] = [
    "norm-eps",
    "mlp-output-bias-dropped",
    "square-transposed",
    "position-table-offset",
    "attention-unscaled",
    "mask-sees-next",
    "final-norm-missing",
    "padding-attended",
    "padding-counted",
    "norm-scale-detached",
    "embedding-detached",
    "positions-restart",
    "padding-attended-in-cache",
    "cache-kept",
    "fold-bias-lost",
    "fold-gain-lost",
    "writing-left-uncentred",
    "value-bias-lost",
    "value-bias-folded-twice",
];

/// What the suite makes of each, with `planned` for the modules of benchmarks.
pub(super) fn judged(planned: &BTreeSet<Benchmark>) -> Vec<Judged> {
    let mut judged: BTreeMap<String, Judged> = BTreeMap::new();
    for told in reports() {
        let text = |key: &str| told["fault"][key].as_str().unwrap().to_owned();
        let one = judged.entry(text("id"));
        let one = one.or_insert_with(|| Judged::unseen(text("id"), text("description")));
        // A mistake that is not caught is seen by nobody.
        for (name, count) in told["seen_by"].as_object().into_iter().flatten() {
            let benchmark = planned.iter().find(|benchmark| benchmark.name == *name);
            let count = usize::try_from(count.as_u64().unwrap()).unwrap();
            *one.red.entry(benchmark.unwrap().clone()).or_default() += count;
        }
    }
    let in_order = MISTAKES.iter().map(|id| judged.remove(*id).expect(id));
    in_order.collect()
}

/// Of every mistake, against each reference.
fn reports() -> Vec<Value> {
    let config = config();
    let test = suite(&config).plugin(plugin("tlbench_faults"));
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    let models = config["models"].as_array().unwrap();
    let of_model = |model: &toml::Value| {
        let command = ["sensitivity", model["name"].as_str().unwrap(), "--complete"];
        let format = ["--quiet", "--format", "json"];
        let mistakes = MISTAKES.iter().flat_map(|id| ["--fault", id]);
        let run = test.run(command.into_iter().chain(format).chain(mistakes));
        run.exits(0).events("fault_judged")
    };
    models.iter().flat_map(of_model).collect()
}
