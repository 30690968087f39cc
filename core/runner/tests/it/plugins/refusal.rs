//! Files that are no plugins, or that this host must not load: one clear line each, and the rest goes on.

use std::env::consts::DLL_EXTENSION;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::built::{SHIPPED, aborting_plugin, plugin, test_plugin};
use crate::support::cli_test::CliTest;
use crate::support::fixture;

/// What stands before everything else in a stamp.
pub(super) const STAMP: &[u8] = b"tlbench plugin\0\x01";

/// What is told of `bad`, while the shipped plugins are there all the same.
pub(super) fn told(test: &CliTest, bad: &Path) -> String {
    let bad = bad.display().to_string();
    let arguments = ["--plugin", &bad, "list", "--format", "json"];
    let run = test.run(arguments).exits(98);
    assert_eq!(
        run.json()["plugins"].as_array().unwrap().len(),
        SHIPPED.len(),
        "{run}"
    );
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    run.stderr
}

/// A copy of the plugin `second` with the bytes after `mark` replaced.
pub(super) fn patched(test: &CliTest, mark: &[u8], offset: usize, replacement: &[u8]) -> PathBuf {
    let mut bytes = fs::read(test_plugin("second")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - mark.len())
        .filter(|&at| bytes[at..].starts_with(mark))
        .collect();
    assert!(!places.is_empty(), "no such bytes in the plugin");
    for at in places {
        bytes[at + offset..at + offset + replacement.len()].copy_from_slice(replacement);
    }
    test.write(&format!("patched.{DLL_EXTENSION}"), bytes)
}

#[test]
fn a_file_that_is_no_library() {
    let test = CliTest::new();
    let file = test.write(&format!("libtlbench_text.{DLL_EXTENSION}"), "just text");
    insta::assert_snapshot!(told(&test, &file), @"error: plugin [FOLDER]/libtlbench_text.so: is no dynamic library (Could not read file magic)");
}

#[test]
fn half_of_a_library() {
    let test = CliTest::new();
    let mut bytes = fs::read(test_plugin("second")).unwrap();
    bytes.truncate(bytes.len() / 2);
    let file = test.write(&format!("half.{DLL_EXTENSION}"), bytes);
    insta::assert_snapshot!(told(&test, &file), @"error: plugin [FOLDER]/half.so: is no dynamic library (Invalid ELF section header offset/size/alignment)");
}

#[test]
fn a_library_without_a_stamp() {
    let test = CliTest::new();
    insta::assert_snapshot!(told(&test, test_plugin("no_plugin")), @"error: plugin [TARGET]/release/libno_plugin.so: is no tlbench plugin: it exports no stamp");
}

#[test]
fn a_stale_abi() {
    let test = CliTest::new();
    let stale = patched(&test, STAMP, STAMP.len(), &7_u32.to_ne_bytes());
    insta::assert_snapshot!(told(&test, &stale), @"error: plugin [FOLDER]/patched.so: built for plugin ABI 7 (tlbench-sdk [VERSION]), this host speaks 3; rebuild it against this tlbench-sdk");
}

#[test]
fn another_machine() {
    let test = CliTest::new();
    let target_at = STAMP.len() + 4 * size_of::<u32>() + 32 + 96;
    let foreign = patched(&test, STAMP, target_at, b"mips-unknown\0");
    let line = told(&test, &foreign);
    let (line, host) = line.trim_end().rsplit_once(' ').unwrap();
    assert!(host.starts_with(std::env::consts::ARCH), "{host}");
    insta::assert_snapshot!(line, @"error: plugin [FOLDER]/patched.so: built for mips-unknown, this host is");
}

#[test]
fn a_stamp_that_is_none() {
    let test = CliTest::new();
    let defaced = patched(&test, STAMP, 0, b"TLBENCH");
    insta::assert_snapshot!(told(&test, &defaced), @"error: plugin [FOLDER]/patched.so: its stamp does not start as a stamp does");
}

#[test]
fn a_root_module_of_another_abi_stable() {
    let test = CliTest::new();
    let mark = b"abi stable library for Rust";
    let other = patched(&test, mark, 0, b"ABI");
    insta::assert_snapshot!(told(&test, &other), @"error: plugin [FOLDER]/patched.so: its root module was exported by another version of abi_stable");
}

#[test]
fn panic_abort() {
    let test = CliTest::new();
    insta::assert_snapshot!(told(&test, aborting_plugin()), @r#"error: plugin [TARGET]/release/libaborts.so: built with panic = "abort"; set `panic = "unwind"` in its release profile and rebuild it"#);
}

#[test]
fn a_panic_while_it_lists_what_it_offers() {
    let test = CliTest::new();
    insta::assert_snapshot!(told(&test, test_plugin("panics_when_listed")), @"error: plugin [TARGET]/release/libpanics_when_listed.so: it failed to list what it offers: the plugin panicked: it does not say at panics-when-listed/src/lib.rs:[LINE]");
}

#[test]
fn an_id_that_is_taken() {
    let second = test_plugin("second");
    let test = CliTest::without_plugins()
        .plugin(second)
        .plugin(test_plugin("duplicate"));
    let run = test.run(["list", "--format", "json"]).exits(98);
    insta::assert_snapshot!(run.stderr, @"error: plugin [TARGET]/release/libduplicate.so: offers the benchmark `finite_logits`, which [TARGET]/release/libsecond.so offers already");
    // A plugin of which one id is taken is refused as a whole.
    let list = run.json();
    let ids: Vec<_> = list["benchmarks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|offer| &offer["info"]["id"])
        .collect();
    assert_eq!(ids, ["finite_logits"]);
}

#[test]
fn an_id_that_one_plugin_offers_twice() {
    let test = CliTest::new();
    insta::assert_snapshot!(told(&test, test_plugin("twice")), @"error: plugin [TARGET]/release/libtwice.so: offers the benchmark `twice` twice");
}

#[test]
fn a_copy_of_a_plugin() {
    let test = CliTest::new();
    let bytes = fs::read(plugin("tlbench_gpt2")).unwrap();
    let copy = test.write(&format!("copy.{DLL_EXTENSION}"), bytes);
    insta::assert_snapshot!(told(&test, &copy), @"error: plugin [FOLDER]/copy.so: offers the architecture `gpt2`, which [TARGET]/release/libtlbench_gpt2.so offers already");
}

#[test]
fn the_run_goes_on_without_what_is_refused_and_does_not_end_well() {
    let test = CliTest::new().plugin(test_plugin("no_plugin"));
    let folder = fixture("").display().to_string();
    let run = test.run([
        "--model",
        &folder,
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ]);
    insta::assert_snapshot!(run);
}

#[test]
fn what_a_scan_meets_by_chance_is_told_and_no_more() {
    let test = CliTest::new();
    test.write(&format!("bin/libtlbench_text.{DLL_EXTENSION}"), "just text");
    test.place(
        test_plugin("no_plugin"),
        &format!("bin/libtlbench_other.{DLL_EXTENSION}"),
    );
    let folder = fixture("").display().to_string();
    let run = test.run([
        "--model",
        &folder,
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ]);
    insta::assert_snapshot!(run);
}

#[test]
fn a_stamped_plugin_in_a_scanned_folder_has_to_load() {
    let test = CliTest::new();
    test.place(
        aborting_plugin(),
        &format!("bin/libtlbench_aborts.{DLL_EXTENSION}"),
    );
    let folder = fixture("").display().to_string();
    let run = test.run(["--model", &folder, "--quiet"]).exits(98);
    assert!(run.stdout.contains("built with panic = \"abort\""), "{run}");
}

#[test]
fn a_benchmark_that_is_missing_with_its_plugin_is_explained() {
    let stale = CliTest::new();
    let stale_file = patched(&stale, STAMP, STAMP.len(), &7_u32.to_ne_bytes());
    let test = stale.plugin(stale_file);
    let folder = fixture("").display().to_string();
    insta::assert_snapshot!(test.run(["--model", &folder, "--benchmark", "finite_logits"]), @"
    exit code 98
    ----- stderr -----
    error: plugin [FOLDER]/patched.so: built for plugin ABI 7 (tlbench-sdk [VERSION]), this host speaks 3; rebuild it against this tlbench-sdk
    error: benchmark `finite_logits`: expected the name, the module or a glob of one of forward_pass, logits_equivalence, loss_equivalence, found none that matches
    ");
}
