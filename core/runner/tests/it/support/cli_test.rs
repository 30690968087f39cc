//! One test of the command: a folder of its own, a known environment, and plugins that it names.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use insta::internals::SettingsBindDropGuard;
use serde_json::Value;
use tempfile::TempDir;

use super::{built, normalise};

/// What survives of the environment. No setting of tlbench does.
const KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"];

/// A folder to run the command in. While it lives, snapshots are free of what differs from run to run.
pub(crate) struct CliTest {
    folder: TempDir,
    plugins: Vec<PathBuf>,
    environment: Vec<(String, OsString)>,
    _settings: SettingsBindDropGuard,
}

impl CliTest {
    /// With all plugins that are shipped.
    pub(crate) fn new() -> Self {
        built::SHIPPED
            .iter()
            .fold(Self::without_plugins(), |test, name| {
                test.plugin(built::plugin(name))
            })
    }

    /// With the command alone: there is nothing beside its executable.
    pub(crate) fn without_plugins() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let settings = normalise::settings(folder.path()).bind_to_scope();
        let test = Self {
            folder,
            plugins: Vec::new(),
            environment: Vec::new(),
            _settings: settings,
        };
        fs::create_dir(test.path("bin")).unwrap();
        place(built::binary(), &test.executable());
        test
    }

    /// With `--plugin file`.
    pub(crate) fn plugin(mut self, file: impl Into<PathBuf>) -> Self {
        self.plugins.push(file.into());
        self
    }

    /// With a variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A path in the test's folder, which is the working folder of the command.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the test's folder, and whatever folders lead to it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts `file` into the test's folder under another name.
    pub(crate) fn place(&self, file: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        place(file, &path);
        path
    }

    /// Runs `tlbench` with `arguments`.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        let output = self
            .within(Command::new(self.executable()))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("tlbench writes UTF-8");
        Run {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// `command`, which is `tlbench` or ends up as it, in this folder and environment and with these plugins.
    pub(crate) fn within(&self, mut command: Command) -> Command {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null());
        let kept = KEPT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(kept).env("NO_COLOR", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for plugin in &self.plugins {
            command.arg("--plugin").arg(plugin);
        }
        command
    }

    /// Where `tlbench` is.
    pub(crate) fn executable(&self) -> PathBuf {
        self.path("bin/tlbench")
            .with_extension(std::env::consts::EXE_EXTENSION)
    }
}

/// A link where the file system allows one: the files are large, and nobody writes to them.
fn place(file: &Path, to: &Path) {
    if fs::hard_link(file, to).is_err() {
        fs::copy(file, to).unwrap();
    }
}

/// How a run ended, and what it wrote.
pub(crate) struct Run {
    /// `None`: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts the exit code; the message of a failure shows everything.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// What it wrote as `--format json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// The events of one kind in a report.
    #[track_caller]
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let report = self.json();
        let events = report["events"].as_array().cloned().unwrap_or_default();
        events
            .into_iter()
            .filter(|event| event["event"] == kind)
            .collect()
    }

    /// Everything that was measured: the same numbers mean the same model and the same inputs.
    #[track_caller]
    pub(crate) fn measurements(&self) -> Vec<Value> {
        let checks = self.events("check_finished");
        checks
            .iter()
            .map(|check| check["measurements"].clone())
            .collect()
    }

    /// Why the one model cannot be judged.
    #[track_caller]
    pub(crate) fn model_failure(&self) -> String {
        let failed = self.events("model_failed");
        assert_eq!(failed.len(), 1, "{self}");
        let message = failed[0]["message"].as_str().unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        message.to_owned()
    }

    /// What became of each check, as `benchmark/variant SEVERITY message`.
    #[track_caller]
    pub(crate) fn checks(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |event: &Value| {
            format!(
                "{}/{} {} {}",
                text(&event["check"]["benchmark"]),
                text(&event["check"]["variant"]),
                text(&event["severity"]).to_uppercase(),
                text(&event["message"])
            )
        };
        self.events("check_finished").iter().map(line).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit code {code}")?,
            None => writeln!(f, "ended by a signal")?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "----- {name} -----\n{text}")?;
            }
        }
        Ok(())
    }
}
