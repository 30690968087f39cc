//! What inputs do not reach: what the rules of every run say, beside what sensitivity computes.

use super::laboratory;
use crate::support::cli_test::Run;
use crate::support::repository;
use crate::support::shipped_config::shipped_config;

/// Mistakes that only inputs beyond a window, beyond an original context, or with padding show.
const OF_REACH: [&str; 6] = [
    "--fault",
    "window-ignored",
    "--fault",
    "rotary-original-context",
    "--fault",
    "padding-attended",
];

fn rules(run: &Run) -> Vec<String> {
    let notes = run.events("note");
    let messages = notes.iter().map(|note| note["message"].as_str().unwrap());
    let rules = messages.filter(|message| message.contains("by rule"));
    rules.map(str::to_owned).collect()
}

/// Mistakes that were not exercised.
fn computed(run: &Run) -> Vec<String> {
    let judged = run.events("fault_judged");
    let unexercised = judged
        .iter()
        .filter(|one| one["outcome"] == "not_exercised");
    let ids = unexercised.map(|one| one["fault"]["id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn every_shipped_checkpoint_is_reached_by_rule_and_as_it_is_computed() {
    let test = laboratory();
    let config = shipped_config();
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    let json = ["--quiet", "--format", "json"];
    let run = test.run(json.iter().chain(&["--benchmark", "config_coverage"]));
    assert_eq!(rules(&run.exits(0)), [""; 0]);
    let names = config["models"].as_array().unwrap().iter();
    let names = names.map(|entry| entry["name"].as_str().unwrap());
    // A second opinion has the same questions as the first.
    for model in names.filter(|name| !name.ends_with("-second-opinion")) {
        let command = ["sensitivity", model, "--benchmark", "forward_pass"];
        let run = test.run(command.iter().chain(&json).chain(&OF_REACH));
        assert_eq!(computed(&run.exits(0)), [""; 0], "{model}");
    }
}

#[test]
fn where_the_rule_says_that_a_window_is_not_reached_a_mistake_in_it_is_not_exercised() {
    let test = laboratory();
    let folder = repository().join("architectures/llama/fixtures/mistral");
    let folder = folder.display();
    // Its window has 5 tokens.
    let model = format!("[[models]]\nname = 'm'\npath = '{folder}'\ninput_ids = [5, 6, 7]\n");
    test.write("tlbench.toml", format!("[run]\nmax_tokens = 4\n{model}"));
    let chosen = ["--benchmark", "forward_pass", "--no-hf-reference"];
    let json = ["--quiet", "--format", "json"];
    let run = test.run(chosen.iter().chain(&json)).exits(0);
    let command = ["sensitivity", "m"].iter().chain(&chosen);
    let told = test.run(command.chain(&json).chain(&OF_REACH)).exits(0);
    assert_eq!(rules(&told), [""; 0], "what is computed takes their place");
    insta::assert_snapshot!(format!(
        "{}\n{}",
        rules(&run).join("\n"),
        computed(&told).join("\n")
    ));
}
