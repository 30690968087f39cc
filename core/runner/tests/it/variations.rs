//! Healthy implementations that are not the bridge as it is: no check may be red, and few may warn.

use std::collections::BTreeMap;

use faults::VARIATIONS;
use toml::Table;

use crate::support::built::plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::shipped_config::{families, plugins_of, shipped_config};

/// The share of checks that may warn.
const WARNINGS: f64 = 0.001;

/// Every shipped checkpoint against its recording, with `change` made to the config.
fn judged(change: impl Fn(&mut Table), arguments: &[&str]) -> Run {
    let mut config = shipped_config();
    let models = config["models"].as_array_mut().unwrap();
    models.retain(|model| model.get("references").is_none());
    change(&mut config);
    let judges = plugins_of(&config).into_iter().chain(families());
    let test = judges
        .map(|name| plugin(&name))
        .chain([plugin("faulty_subject")])
        .fold(CliTest::without_plugins(), CliTest::plugin);
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    test.run(["--quiet", "--format", "json"].iter().chain(arguments))
}

fn assert_healthy(run: &Run) {
    let checks = run.events("check_finished");
    let mut by_severity = BTreeMap::<&str, usize>::new();
    for check in &checks {
        *by_severity
            .entry(check["severity"].as_str().unwrap())
            .or_default() += 1;
    }
    let count = |severity| by_severity.get(severity).copied().unwrap_or_default();
    assert_eq!([count("danger"), count("error")], [0, 0], "{run}");
    let share = count("warning") as f64 / checks.len() as f64;
    assert!(share <= WARNINGS, "{by_severity:?}");
    assert!(count("info") > checks.len() / 2, "{by_severity:?}");
}

#[test]
fn sums_in_another_order_are_no_mistake() {
    for variation in VARIATIONS {
        let run = judged(
            |config| {
                for model in config["models"].as_array_mut().unwrap() {
                    let model = model.as_table_mut().unwrap();
                    model.insert("subject".into(), "faulty-subject".into());
                }
                let option = Table::from_iter([("fault".to_owned(), variation.id.into())]);
                let reference = Table::from_iter([("faulty-subject".to_owned(), option.into())]);
                config.insert("reference".into(), reference.into());
            },
            &[],
        );
        assert_healthy(&run);
    }
}

#[test]
fn f64_is_no_mistake() {
    assert_healthy(&judged(|_| {}, &["--dtype", "f64"]));
}
