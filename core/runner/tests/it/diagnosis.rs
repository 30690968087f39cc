//! What explains a red model: wrong adapters, and other implementations on trial, judged by recordings of HuggingFace.

use crate::support::built::{plugin, test_plugin};
use crate::support::cli_test::{CliTest, Run};
use crate::support::repository;

/// With the zoo, adapters that are wrong, and the recordings of HuggingFace.
fn test() -> CliTest {
    let shipped = [
        "tlbench_faults",
        "tlbench_forward_pass",
        "tlbench_gemma",
        "tlbench_gpt2",
        "tlbench_hf_candle",
        "tlbench_hf_recorded",
        "tlbench_llama",
        "tlbench_starcoder2",
    ];
    let test = shipped
        .iter()
        .fold(CliTest::without_plugins(), |test, name| {
            test.plugin(plugin(name))
        });
    test.plugin(test_plugin("faulty_gpt2"))
        .plugin(test_plugin("faulty_families"))
}

/// The model in `fixture`, with more of its entry in the config.
fn judged(test: &CliTest, fixture: &str, entry: &str) -> Run {
    let path = repository().join("architectures").join(fixture);
    let path = path.display();
    let config = format!("[[models]]\nname = 'm'\npath = '{path}'\n{entry}\n");
    test.write("tlbench.toml", config);
    test.run(["--quiet", "--no-compat"])
}

/// What is told behind the verdict on the run.
fn told(run: &Run) -> &str {
    let (_, told) = run
        .stdout
        .split_once("verification failed")
        .expect("a red run");
    told.split_once('\n').map_or("", |(_, told)| told)
}

/// Ratios are the processor's, and with them how long a number is searched for.
fn without_ratios(assert: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"(ratio|ratio of|at most|from|by) (\d[\d.]*(e\d+)?|#e\d+)( \(| to|,|;|\)|\n|$)",
        "$1 [RATIO]$4",
    );
    settings.add_filter(r" to \d[\d.]*(e\d+)?( then|;)", " to [RATIO]$2");
    settings.add_filter(r"none of \d+ repairs", "none of [COUNT] repairs");
    settings.bind(assert);
}

/// The diagnosis of each of these adapters.
fn diagnoses(cases: &[(&str, &str)]) -> String {
    let test = test();
    let told = cases.iter().map(|(fixture, architecture)| {
        let run = judged(&test, fixture, &format!("architecture = '{architecture}'"));
        let run = run.exits(100);
        format!("{architecture}\n{}", told(&run))
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_taken_for_what_is_named_with_where_to_look() {
    let told = diagnoses(&[
        ("gpt2/fixtures/tiny", "gpt2-eps"),
        ("gpt2/fixtures/tiny", "gpt2-exact-gelu"),
        ("gpt2/fixtures/tiny", "gpt2-unscaled-attention"),
        ("gpt2/fixtures/tiny", "gpt2-dropped-final-norm"),
        ("llama/fixtures/tiny", "llama-interleaved"),
        ("llama/fixtures/mistral", "mistral-wider-window"),
        ("gemma/fixtures/gemma", "gemma-without-offset"),
    ]);
    without_ratios(|| insta::assert_snapshot!(told));
}

#[test]
fn what_stands_in_the_config_and_was_not_read_is_found_there() {
    let told = diagnoses(&[
        ("llama/fixtures/dynamic", "llama-scaling-ignored"),
        ("llama/fixtures/linear", "llama-scaling-ignored"),
        ("llama/fixtures/longrope", "llama-scaling-ignored"),
        ("llama/fixtures/yarn", "llama-scaling-ignored"),
    ]);
    without_ratios(|| insta::assert_snapshot!(told));
}

#[test]
fn that_nothing_fits_is_told_with_the_repair_that_brings_it_nearest() {
    let told = diagnoses(&[
        ("llama/fixtures/tiny", "llama-interleaved-other-theta"),
        ("llama/fixtures/mistral", "mistral-wider-window-and-scale"),
    ]);
    without_ratios(|| insta::assert_snapshot!(told));
}

#[test]
fn a_norm_whose_gain_is_wrong_is_named_and_not_what_reads_it() {
    let test = test();
    let run = judged(
        &test,
        "gemma/fixtures/gemma",
        "architecture = 'gemma-without-offset'",
    );
    let run = run.exits(100);
    let (_, told) = run
        .stdout
        .split_once("[FAIL] forward_pass/text")
        .expect("a red check");
    let told: Vec<&str> = told
        .lines()
        .take_while(|line| !line.contains("[FAIL]"))
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"are right \(\d[\d.]*\)", "are right ([RATIO])");
    settings.add_filter(r"(after each block  ).*", "$1[RATIOS]");
    settings.add_filter(r"\d+ of (\d+) outside", "[COUNT] of $1 outside");
    settings.bind(|| insta::assert_snapshot!(told.join("\n")));
}

#[test]
fn another_implementation_is_told_by_the_mistakes_that_compute_the_same() {
    let test = test();
    let told = [
        "gemma/fixtures/gemma2",
        "llama/fixtures/biased",
        "llama/fixtures/mistral",
        "llama/fixtures/qwen2",
        "starcoder2/fixtures/windowed",
    ]
    .map(|fixture| {
        let run = judged(&test, fixture, "subject = 'hf-candle'").exits(100);
        format!("{fixture}\n{}", told(&run))
    });
    without_ratios(|| insta::assert_snapshot!(told.join("\n")));
}
