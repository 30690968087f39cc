//! What is said of a file that is wrong.

use super::*;

#[test]
fn a_key_that_is_misspelt() {
    insta::assert_snapshot!(problems("[run]\ndevice = 'cpu'\n\ndtpye = 'f32'"), @"tlbench.toml:4:1: unknown key `dtpye` in [run]; did you mean `dtype`?");
}

#[test]
fn a_key_in_the_wrong_table() {
    insta::assert_snapshot!(problems("dtype = 'f32'\n[plugins]\ncompat = true"), @"
    tlbench.toml:1:1: unknown key `dtype` at the top level; it belongs in [run]
    tlbench.toml:3:1: unknown key `compat` in [plugins]; it belongs in [run]
    ");
}

#[test]
fn a_key_like_no_other() {
    insta::assert_snapshot!(problems("[[benchmarks]]\nname = '*'\nzzz = 1"), @"tlbench.toml:3:1: unknown key `zzz` in [[benchmarks]]; known are `name`, `options`");
}

#[test]
fn a_table_that_is_misspelt() {
    insta::assert_snapshot!(problems("[[model]]\npath = 'a'\n[references.hf-python]\n[runs]"), @"
    tlbench.toml:1:3: unknown key `model` at the top level; did you mean `models`?
    tlbench.toml:3:2: unknown key `references` at the top level; did you mean `reference`?
    tlbench.toml:4:2: unknown key `runs` at the top level; did you mean `run`?
    ");
}

#[test]
fn values_of_the_wrong_kind() {
    let text = r#"
        [run]
        text = 3
        references = "hf"
        compat = "yes"
        max_tokens = 0
        [plugins]
        paths = ["a", 1.5]
        [[models]]
        path = 1979-05-27
        name = " "
        recording = { file = "x" }
        architecture = false
        [[benchmarks]]
        name = "*"
        options = 3
    "#;
    insta::assert_snapshot!(problems(text), @r#"
    tlbench.toml:3:16: key `text` in [run]: expected text, found 3
    tlbench.toml:4:22: key `references` in [run]: expected a list of texts, found "hf"
    tlbench.toml:5:18: key `compat` in [run]: expected true or false, found "yes"
    tlbench.toml:6:22: key `max_tokens` in [run]: expected a whole number above 0, found 0
    tlbench.toml:8:17: key `paths` in [plugins]: expected a list of texts, found ["a", 1.5]
    tlbench.toml:10:16: key `path` in [[models]]: expected the folder of a checkpoint, found 1979-05-27
    tlbench.toml:11:16: key `name` in [[models]]: expected text, found " "
    tlbench.toml:12:21: key `recording` in [[models]]: expected text, found a table
    tlbench.toml:13:24: key `architecture` in [[models]]: expected text, found false
    tlbench.toml:16:19: key `options` in [[benchmarks]]: expected a table, found 3
    "#);
}

#[test]
fn sizes_that_are_none() {
    let sizes = ["-1", "1.0", "99999999999999999999", "'16'"];
    let lines = sizes.map(|size| problems(&format!("run.max_tokens = {size}")));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    tlbench.toml:1:18: key `max_tokens` in [run]: expected a whole number above 0, found -1
    tlbench.toml:1:18: key `max_tokens` in [run]: expected a whole number above 0, found 1.0
    tlbench.toml:1:18: key `max_tokens` in [run]: expected a whole number above 0, found 99999999999999999999
    tlbench.toml:1:18: key `max_tokens` in [run]: expected a whole number above 0, found "16"
    "#);
}

#[test]
fn token_ids_that_are_none() {
    let lists = [
        "[]",
        "[1, -2]",
        "[1.0]",
        "['a']",
        "3",
        "[9223372036854775808]",
    ];
    let lines = lists.map(|list| problems(&format!("run.input_ids = {list}")));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found []
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found [1, -2]
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found [1.0]
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found ["a"]
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found 3
    tlbench.toml:1:17: key `input_ids` in [run]: expected a list of token ids, which are whole numbers from 0 on, found [9223372036854775808]
    "#);
}

#[test]
fn a_text_and_tokens_at_once() {
    insta::assert_snapshot!(problems("[run]\ntext = 'a'\ninput_ids = [1]\n[[models]]\npath = 'a'\ninput_ids = [1]\ntext = 'a'"), @"
    tlbench.toml:3:13: key `input_ids` in [run]: expected either `text` or `input_ids`, found both
    tlbench.toml:6:13: key `input_ids` in [[models]]: expected either `text` or `input_ids`, found both
    ");
}

#[test]
fn words_that_are_not_known() {
    let text = "[run]\ndevice = 'cuda'\ndtype = 'fp16'\njudging = 'calibrate'";
    insta::assert_snapshot!(problems(text), @r#"
    tlbench.toml:2:10: key `device` in [run]: expected `cpu`, the only device so far, found "cuda"
    tlbench.toml:3:9: key `dtype` in [run]: expected `f32`, `f64`, `bf16` or `f16`, found "fp16"; did you mean `f16`?
    tlbench.toml:4:11: key `judging` in [run]: expected `calibrated` or `tolerance`, found "calibrate"; did you mean `calibrated`?
    "#);
}

#[test]
fn what_should_be_a_table_is_none() {
    insta::assert_snapshot!(problems("run = 1\nplugins = []\nreference = 'hf'\nmodels = {}\nbenchmarks = [1]"), @r#"
    tlbench.toml:1:7: key `run` at the top level: expected a table, found 1
    tlbench.toml:2:11: key `plugins` at the top level: expected a table, found []
    tlbench.toml:3:13: key `reference` at the top level: expected a table, found "hf"
    tlbench.toml:4:10: key `models` at the top level: expected a list of tables, each under a header in double brackets, found a table
    tlbench.toml:5:14: key `benchmarks` at the top level: expected a list of tables, each under a header in double brackets, found [1]
    "#);
    insta::assert_snapshot!(problems("[reference]\nhf-python = 'python3'"), @r#"tlbench.toml:2:13: key `hf-python` in [reference]: expected a table, found "python3""#);
    insta::assert_snapshot!(problems("[models]\npath = 'tiny'"), @"tlbench.toml:1:1: key `models` at the top level: expected a list of tables, each under a header in double brackets, found a table");
}

#[test]
fn keys_that_are_missing() {
    insta::assert_snapshot!(problems("[[models]]\nname = 'a'\n[[benchmarks]]"), @"
    tlbench.toml:1:1: no key `path` in [[models]]: expected the folder of a checkpoint, or `hub` with a model of the Hub
    tlbench.toml:3:1: no key `name` in [[benchmarks]]: expected a benchmark, a module of benchmarks, or a glob
    ");
}

#[test]
fn models_that_come_from_two_places_or_from_none_that_there_is() {
    let text = "[[models]]\npath = 'a'\nhub = 'owner/tiny'\n[[models]]\nhub = 3\n[[models]]\nhub = 'https://hub/owner/tiny'\n[[models]]\nhub = 'owner/tiny@'";
    insta::assert_snapshot!(problems(text), @r#"
    tlbench.toml:3:7: key `hub` in [[models]]: expected either `path` or `hub`, found both
    tlbench.toml:5:7: key `hub` in [[models]]: expected a model of the Hub, found 3
    tlbench.toml:7:7: key `hub` in [[models]]: expected a model of the Hub as owner/name or owner/name@revision, found "https://hub/owner/tiny": the Hub allows letters, digits, `-`, `_` and `.`, and not `:`
    tlbench.toml:9:7: key `hub` in [[models]]: expected a model of the Hub as owner/name or owner/name@revision, found "owner/tiny@": `` is no branch, tag, commit or refs/pr/NUMBER
    "#);
}

#[test]
fn two_models_of_one_name() {
    insta::assert_snapshot!(problems("[[models]]\npath = 'a/tiny'\n[[models]]\npath = 'b/tiny'"), @"tlbench.toml:3:1: model `tiny`: the model at 1:1 has the same name; give one of them another `name`");
}

#[test]
fn opaque_settings_that_toml_cannot_hold() {
    insta::assert_snapshot!(problems("[reference.x]\nseed = 99999999999999999999999"), @"tlbench.toml:2:8: the number `99999999999999999999999` is out of range");
}

#[test]
fn what_is_no_toml_is_all_that_is_said() {
    insta::assert_snapshot!(problems("[run\ndtpye = 'f32'\ntext = 'open\n"), @"tlbench.toml:1:5: no valid TOML: unclosed table, expected `]`");
    insta::assert_snapshot!(problems("[run]\ntext = 'a'\ntext = 'b'\n"), @"tlbench.toml:3:1: no valid TOML: duplicate key at `text`");
    insta::assert_snapshot!(problems("[run]\ntext = \n"), @"tlbench.toml:2:8: no valid TOML: string values must be quoted, expected literal string");
}

#[test]
fn columns_count_characters() {
    insta::assert_snapshot!(problems("run = { text = 'größer', dtpye = 1 }"), @"tlbench.toml:1:26: unknown key `dtpye` in [run]; did you mean `dtype`?");
}

#[test]
fn a_long_value_is_shortened() {
    let text = format!("run.judging = ['{}']", "x".repeat(99));
    insta::assert_snapshot!(problems(&text), @r#"tlbench.toml:1:15: key `judging` in [run]: expected text, found ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."]"#);
}
