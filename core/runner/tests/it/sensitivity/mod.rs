//! Which mistakes the suite notices: `tlbench sensitivity`, and `docs/sensitivity.md`.

mod page;
mod reach;

use serde_json::Value;

use crate::support::built::plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::shipped_config::{families, plugins_of, shipped_config};
use crate::support::{fixture, repository};

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
    for short in ["missed", "not_asked", "not_exercised"] {
        assert_eq!(score[short], 0, "{short}");
    }
}

#[test]
fn a_value_that_no_model_has_is_a_mistake_where_diagnosis_is_scored_or_by_name() {
    let odd = |arguments: &[&str]| {
        let run = on_gpt2(&[&["--benchmark", "forward_pass"], arguments].concat());
        let judged = run.exits(0).events("fault_judged");
        let ids = judged
            .iter()
            .map(|one| one["fault"]["id"].as_str().unwrap());
        let odd = ids.filter(|id| id.starts_with("odd-")).map(str::to_owned);
        odd.collect::<Vec<_>>()
    };
    assert_eq!(odd(&[]), [""; 0]);
    assert_eq!(odd(&["--diagnose"]), ["odd-eps", "odd-scale"]);
    assert_eq!(odd(&["--fault", "odd-eps"]), ["odd-eps"]);
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
fn what_no_chosen_benchmark_asks_about_says_what_would_show_it() {
    let model = fixture("").display().to_string();
    let command = ["sensitivity", &model, "--quiet", "--no-compat"];
    let chosen = [
        "--benchmark",
        "logits_equivalence",
        "--fault",
        "cache-never-read",
        "--fault",
        "padding-attended-in-cache",
        "--fault",
        "embedding-detached",
        "--fault",
        "fold-bias-lost",
        "--fault",
        "k-bias-dropped",
        "--fault",
        "head-tied",
        "--fault",
        "gelu-kind",
    ];
    let test = laboratory();
    let run = test.run(command.iter().chain(&chosen)).exits(0);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"logits( +)\d+", "logits$1[RATIO]");
    settings.bind(|| insta::assert_snapshot!(run.stdout));
}

#[test]
fn without_random_inputs_a_mistake_that_moves_nothing_is_not_left_out() {
    let score = |random: &str| {
        let arguments = ["--fault", "head-tied", "--random-inputs", random];
        let run = on_gpt2(&arguments).exits(0);
        run.events("sensitivity_scored")[0].clone()
    };
    assert_eq!(score("0")["not_exercised"], 1);
    assert_eq!(score("20")["not_excitable"], 1);
}

#[test]
fn what_a_router_chooses_is_held_to_huggingface() {
    let mut table = Vec::new();
    for model in ["mixtral", "olmoe", "qwen3_moe"] {
        let folder = repository()
            .join("architectures/mixtral/fixtures")
            .join(model);
        let folder = folder.display().to_string();
        let chosen = ["--benchmark", "coverage/*", "--benchmark", "forward_pass"];
        let faults = ["--fault", "router-[!d]*", "--fault", "experts-*"];
        let command = ["sensitivity", &folder, "--quiet", "--format", "json"];
        let run = laboratory().run(command.iter().chain(&chosen).chain(&faults));
        let judged = run.exits(0).events("fault_judged");
        table.push(model.to_owned());
        table.extend(judged.iter().map(told));
    }
    insta::assert_snapshot!(table.join("\n"));
}

/// Norms without gains leave nothing to fold, which whoever is on trial refuses.
#[test]
fn a_subject_without_an_answer_where_the_reference_has_one_fails() {
    let folder = repository().join("architectures/gemma/fixtures/gemma2");
    let folder = folder.display().to_string();
    let command = ["sensitivity", &folder, "--quiet", "--format", "json"];
    let chosen = ["--fault", "fold-gain-lost"];
    let run = laboratory().run(command.iter().chain(&chosen)).exits(0);
    let judged = &run.events("fault_judged")[0];
    assert_eq!(judged["by"]["severity"], "danger", "{judged}");
    insta::assert_snapshot!(judged["by"]["message"].as_str().unwrap());
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
