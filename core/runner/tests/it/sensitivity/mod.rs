//! Which mistakes the suite notices: `tlbench sensitivity`, and `docs/sensitivity.md`.

mod page;

use serde_json::Value;

use crate::support::built::plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;
use crate::support::shipped_config::{families, plugins_of, shipped_config};

/// With everything that judges without Python, and the zoo.
fn laboratory() -> CliTest {
    let config = shipped_config();
    let judges = plugins_of(&config).into_iter().chain(families());
    let test = judges.fold(CliTest::without_plugins(), |test, name| {
        test.plugin(plugin(&name))
    });
    test.plugin(plugin("tlbench_faults"))
}

/// `tlbench sensitivity` on the first GPT-2, for programs.
fn on_gpt2(arguments: &[&str]) -> Run {
    let model = fixture("").display().to_string();
    let command = ["sensitivity", &model, "--quiet", "--format", "json"];
    laboratory().run(command.iter().chain(arguments))
}

/// A fault, what became of it, and by what or why.
fn told(judged: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let by = &judged["by"];
    let at = match (&by["first_divergence"]["quantity"], &by["message"]) {
        (Value::String(quantity), _) => quantity.clone(),
        (_, message) => text(message),
    };
    let [id, outcome] = [&judged["fault"]["id"], &judged["outcome"]].map(text);
    let benchmark = text(&by["check"]["benchmark"]);
    let mode = text(&by["check"]["mode"]);
    format!("{id:<30} {outcome:<14} {benchmark:<26} {mode:<7} {at}")
        .trim_end()
        .to_owned()
}

#[test]
fn the_suite_notices_nearly_every_mistake_that_gpt2_has_a_place_for() {
    let run = on_gpt2(&["--min-sensitivity", "0.95"]).exits(0);
    let judged: Vec<String> = run.events("fault_judged").iter().map(told).collect();
    insta::assert_snapshot!(judged.join("\n"));
    let score = &run.events("sensitivity_scored")[0];
    assert_eq!(score["missed"], 0);
    assert_eq!(score["not_exercised"], 0);
}

#[test]
fn a_suite_that_notices_too_few_mistakes_fails() {
    // No cache in a forward pass.
    let blind = ["--benchmark", "forward_pass", "--fault", "cache-*"];
    let asked = [&blind[..], &["--min-sensitivity", "0.5"]].concat();
    let run = on_gpt2(&asked).exits(100);
    let score = &run.events("sensitivity_scored")[0];
    assert_eq!(score["caught"], 0);
}

#[test]
fn what_is_not_exercised_says_what_would_show_it() {
    let model = fixture("").display().to_string();
    let command = ["sensitivity", &model, "--quiet", "--no-compat"];
    let chosen = [
        "--benchmark",
        "forward_pass",
        "--fault",
        "cache-*",
        "--fault",
        "head-tied",
        "--fault",
        "gelu-kind",
    ];
    let test = laboratory();
    let run = test.run(command.iter().chain(&chosen)).exits(0);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"hook_post +\d+", "hook_post   [RATIO]");
    settings.bind(|| insta::assert_snapshot!(run.stdout));
}

#[test]
fn what_is_no_share_and_no_glob_is_refused() {
    let model = fixture("").display().to_string();
    let test = laboratory();
    for wrong in [["--min-sensitivity", "2"], ["--fault", "["]] {
        let command = ["sensitivity", &model, wrong[0], wrong[1]];
        let run = test.run(command).exits(2);
        insta::assert_snapshot!(run.stderr);
    }
}
