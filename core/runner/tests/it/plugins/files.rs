//! Files of every kind under a plugin's name.

use std::env::consts::DLL_EXTENSION;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::discovery::{library, loaded};
use super::refusal::{STAMP, patched, told};
use crate::support::built::{binary, test_plugin};
use crate::support::cli_test::CliTest;

fn elf(plugin: &str) -> Vec<u8> {
    fs::read(test_plugin(plugin)).unwrap()
}

/// The header of a library for an Apple computer, with nothing behind it.
fn mach_o() -> Vec<u8> {
    let (magic, arm64, dylib) = (0xfeed_facf_u32, 0x0100_000c_u32, 6_u32);
    [magic, arm64, 0, dylib, 0, 0, 0, 0]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// The headers of a library for Windows, with nothing behind them.
fn pe() -> Vec<u8> {
    let mut bytes = vec![0; 64 + 4 + 20 + 240];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(60, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(68, &0x8664_u16.to_le_bytes());
    put(68 + 16, &240_u16.to_le_bytes());
    put(68 + 18, &0x2022_u16.to_le_bytes());
    put(88, &0x020b_u16.to_le_bytes());
    put(88 + 108, &16_u32.to_le_bytes());
    bytes
}

#[test]
fn what_is_no_library_of_this_machine() {
    let test = CliTest::new();
    let mut other_machine = elf("no_plugin");
    other_machine[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let lines = [
        ("empty", Vec::new()),
        ("text", b"tlbench plugin\n".to_vec()),
        ("zeros", vec![0; 4096]),
        ("magic", elf("second")[..4].to_vec()),
        ("header", elf("second")[..60].to_vec()),
        ("apple", mach_o()),
        ("windows", pe()),
        ("arm", other_machine),
        ("executable", fs::read(binary()).unwrap()),
    ]
    .map(|(name, content)| told(&test, &test.write(&format!("{name}.so"), content)));
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn a_file_larger_than_memory_is_not_read_whole() {
    let test = CliTest::new();
    let path = test.path("huge.so");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    insta::assert_snapshot!(told(&test, &path));
}

#[test]
fn a_stamp_that_lies_about_the_machine() {
    let test = CliTest::new();
    let mut bytes = elf("second");
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let file = test.write(&format!("liar.{DLL_EXTENSION}"), bytes);
    let line = told(&test, &file);
    let (line, _host) = line.rsplit_once(' ').unwrap();
    insta::assert_snapshot!(line, @"error: plugin [FOLDER]/liar.so: built for Aarch64 (Elf), this host is");
}

#[test]
fn a_library_that_needs_one_that_is_missing() {
    let test = CliTest::new();
    let file = patched(&test, b"libgcc_s.so.1\0", 0, b"libgone.so.77");
    insta::assert_snapshot!(told(&test, &file));
}

/// Where in a stamp the version of the SDK stands.
const SDK_VERSION_AT: usize = STAMP.len() + 4 * size_of::<u32>();

#[test]
fn another_compiler_or_version_of_the_sdk_is_no_obstacle() {
    for (offset, text) in [
        (SDK_VERSION_AT, &b"9.9.9\0"[..]),
        (SDK_VERSION_AT + 32, b"rustc 9.9.9 (someone's own)\0"),
    ] {
        let test = CliTest::without_plugins();
        let file = patched(&test, STAMP, offset, text);
        let run = test.plugin(file).run(["list", "--format", "json"]).exits(0);
        let plugin = &run.json()["plugins"][0];
        let text = String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap());
        assert!(
            plugin["sdk_version"] == *text || plugin["rustc"] == *text,
            "{plugin}"
        );
    }
}

#[test]
fn a_stamp_cannot_paint_either() {
    let test = CliTest::new();
    let file = patched(&test, STAMP, SDK_VERSION_AT, b"\x1b[2J\n\xff\0");
    let bytes = fs::read(&file).unwrap();
    let at = bytes.windows(STAMP.len()).position(|b| b == STAMP).unwrap();
    let mut stale = bytes;
    stale[at + STAMP.len()] = 7;
    fs::write(&file, stale).unwrap();
    insta::assert_snapshot!(told(&test, &file));
}

/// A folder that is called as a plugin is.
fn folder(test: &CliTest, parent: &str) -> PathBuf {
    let path = test.path(&format!("{parent}/{}", library("folder")));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn a_folder_that_is_called_like_a_plugin() {
    let test = CliTest::new();
    let named = folder(&test, "named");
    insta::assert_snapshot!(told(&test, &named));
}

#[test]
fn a_folder_that_is_called_like_a_plugin_beside_plugins() {
    let test = CliTest::without_plugins();
    folder(&test, "bin");
    test.place(test_plugin("second"), &format!("bin/{}", library("second")));
    let run = test.run(["list", "--format", "json"]).exits(0);
    assert_eq!(loaded(&run), ["second from bin"]);
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn a_folder_that_was_named_and_holds_no_plugin() {
    let test = CliTest::new();
    test.write("empty/libnotes.so", "not called as a plugin is");
    insta::assert_snapshot!(told(&test, Path::new("empty")));
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_not_waited_for() {
    let test = CliTest::new();
    let pipe = test.path(&format!("bin/{}", library("pipe")));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    insta::assert_snapshot!(told(&test, &pipe));
    // Beside the executable it is met by chance.
    insta::assert_snapshot!(test.run(["list", "--format", "json"]).exits(0).stderr);
}

#[cfg(unix)]
#[test]
fn a_device_is_not_read() {
    let test = CliTest::new();
    insta::assert_snapshot!(told(&test, Path::new("/dev/zero")), @"error: plugin /dev/zero: is a device or socket, and no file");
}
