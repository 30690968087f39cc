//! Where plugins are looked for, and in which order.

use std::env::{consts::DLL_EXTENSION, join_paths};
use std::path::Path;

use crate::support::built::{plugin, test_plugin};
use crate::support::cli_test::{CliTest, Run};

/// The plugins that `list` shows, as they were loaded: each with the folder that it came from.
pub(super) fn loaded(run: &Run) -> Vec<String> {
    let list = run.json();
    let plugins = list["plugins"].as_array().unwrap();
    plugins
        .iter()
        .map(|plugin| {
            let folder = Path::new(plugin["file"].as_str().unwrap())
                .parent()
                .unwrap();
            let folder = folder.file_name().unwrap().to_string_lossy().into_owned();
            format!("{} from {folder}", plugin["name"].as_str().unwrap())
        })
        .collect()
}

pub(super) fn library(name: &str) -> String {
    format!("libtlbench_{name}.{DLL_EXTENSION}")
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_config_and_executable() {
    let test = CliTest::without_plugins();
    let place =
        |file: &Path, folder: &str| test.place(file, &format!("{folder}/{}", library(folder)));
    let named = place(plugin("tlbench_hf_recorded"), "named");
    let first = place(test_plugin("tensors"), "first");
    place(plugin("tlbench_gpt2"), "later");
    place(plugin("tlbench_hf_python"), "configured");
    test.place(test_plugin("second"), &format!("bin/{}", library("second")));
    test.place(
        plugin("tlbench_forward_pass"),
        &format!("bin/plugins/{}", library("forward_pass")),
    );
    let config = test.write(
        "tlbench.toml",
        "[plugins]
paths = ['configured']
",
    );
    let path = join_paths([first, test.path("later")]).unwrap();
    let test = test.variable("TLBENCH_PLUGIN_PATH", path).plugin(named);
    let run = test.run([
        "list",
        "--format",
        "json",
        "--config",
        config.to_str().unwrap(),
    ]);
    assert_eq!(
        loaded(&run.exits(0)),
        [
            "tlbench-hf-recorded from named",
            "tensors from first",
            "tlbench-gpt2 from later",
            "tlbench-hf-python from configured",
            "second from bin",
            "tlbench-forward-pass from plugins",
        ]
    );
}

#[test]
fn of_a_folder_only_libraries_named_after_tlbench_are_tried_by_name() {
    let test = CliTest::without_plugins();
    test.place(test_plugin("second"), &format!("folder/{}", library("b")));
    test.place(test_plugin("tensors"), &format!("folder/{}", library("a")));
    test.place(
        test_plugin("panics"),
        &format!("folder/libother.{DLL_EXTENSION}"),
    );
    test.write("folder/libtlbench_notes.txt", "no library");
    let test = test.variable("TLBENCH_PLUGIN_PATH", "folder");
    let run = test.run(["list", "--format", "json"]).exits(0);
    assert_eq!(loaded(&run), ["tensors from folder", "second from folder"]);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_plugin_that_is_found_twice_is_loaded_once() {
    let test = CliTest::without_plugins();
    let file = test.place(test_plugin("second"), &format!("bin/{}", library("second")));
    let test = test.variable("TLBENCH_PLUGIN_PATH", "bin").plugin(file);
    let run = test.run(["list", "--format", "json"]).exits(0);
    assert_eq!(loaded(&run), ["second from bin"]);
}

#[test]
fn empty_entries_of_the_path_mean_nothing() {
    for path in ["", ":", ":bin:"] {
        let test = CliTest::without_plugins();
        test.place(test_plugin("second"), &format!("bin/{}", library("second")));
        let path = path.replace(':', if cfg!(windows) { ";" } else { ":" });
        let test = test.variable("TLBENCH_PLUGIN_PATH", path);
        let run = test.run(["list", "--format", "json"]).exits(0);
        assert_eq!(loaded(&run), ["second from bin"]);
    }
}

#[test]
fn a_path_that_leads_nowhere_is_told() {
    let test = CliTest::without_plugins().plugin("nowhere.so");
    insta::assert_snapshot!(test.run(["list"]));
}
