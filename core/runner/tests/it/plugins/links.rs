//! Names of files that lead elsewhere, or nowhere.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::discovery::{library, loaded};
use super::refusal::told;
use crate::support::built::test_plugin;
use crate::support::cli_test::CliTest;

#[test]
fn one_file_under_several_names_is_one_plugin() {
    let test = CliTest::without_plugins();
    let first = test.path(&format!("first/{}", library("a")));
    fs::create_dir_all(first.parent().unwrap()).unwrap();
    fs::copy(test_plugin("second"), &first).unwrap();
    let hard = test.path(&format!("first/{}", library("hard")));
    fs::hard_link(&first, &hard).unwrap();
    let soft = test.path(&format!("bin/{}", library("soft")));
    symlink(&first, &soft).unwrap();
    let test = test
        .variable("TLBENCH_PLUGIN_PATH", "first")
        .plugin(hard)
        .plugin(soft)
        .plugin(first);
    let run = test.run(["list", "--format", "json"]).exits(0);
    assert_eq!(loaded(&run), ["second from first"]);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_copy_in_a_folder_is_refused_beside_the_first() {
    let test = CliTest::without_plugins();
    for name in ["a", "b"] {
        let path = test.path(&format!("bin/{}", library(name)));
        fs::copy(test_plugin("second"), path).unwrap();
    }
    let run = test.run(["list", "--format", "json"]).exits(98);
    assert_eq!(loaded(&run), ["second from bin"]);
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn links_that_lead_nowhere() {
    let test = CliTest::new();
    let dangling = test.path("dangling.so");
    symlink("gone.so", &dangling).unwrap();
    let circular = test.path("circular.so");
    symlink("circular.so", &circular).unwrap();
    let lines = [told(&test, &dangling), told(&test, &circular)];
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn a_link_in_a_folder_that_leads_nowhere_may_have_been_a_plugin() {
    let test = CliTest::new();
    symlink("gone.so", test.path(&format!("bin/{}", library("gone")))).unwrap();
    let run = test.run(["list"]).exits(98);
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn a_file_that_must_not_be_read() {
    let test = CliTest::new();
    let file = test.write("secret.so", "nobody knows");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        // Root may read everything.
        return;
    }
    insta::assert_snapshot!(told(&test, &file), @"error: plugin [FOLDER]/secret.so: cannot be read: Permission denied (os error 13)");
}
