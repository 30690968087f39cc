//! However `tlbench` ends, and whatever its Python is doing then, that ends as well.

use std::fs::{File, TryLockError};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;
use crate::support::repository;

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a program with Ctrl-C as a terminal has it; whoever runs the tests may ignore it.
const WITH_CTRL_C: &str = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); \
                           os.execv(sys.argv[1], sys.argv[1:])";

/// What the Python of a run is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Importing,
    Opening,
    Computing,
    Idle,
}

/// How the run is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Ctrl-C at a terminal reaches Python too.
    InterruptOfAll,
    InterruptOfTlbench,
    Kill,
}

impl End {
    fn signal(self) -> i32 {
        match self {
            Self::InterruptOfAll | Self::InterruptOfTlbench => 2,
            Self::Kill => 9,
        }
    }

    fn send(self, run: &Child) {
        let target = match self {
            Self::InterruptOfAll => format!("-{}", run.id()),
            Self::InterruptOfTlbench | Self::Kill => run.id().to_string(),
        };
        let signal = format!("-{}", self.signal());
        let kill = Command::new("kill").args([&signal, "--", &target]).status();
        assert!(kill.unwrap().success());
    }
}

/// A run whose Python has come to its moment.
struct Running {
    test: CliTest,
    child: Child,
}

impl Running {
    fn until(moment: Moment) -> Self {
        let test = CliTest::new();
        let lock = test.write("lock", "");
        let log = test.path("log");
        let (variable, happens) = match moment {
            Moment::Importing => ("FAKE_IMPORT", "hangs"),
            Moment::Opening | Moment::Computing => ("FAKE_WORK", "hangs"),
            // It refuses to work, and waits for another question.
            Moment::Idle => ("FAKE_WORK", "lacks_memory"),
        };
        let test = test
            .variable("FAKE_LOCK", lock)
            .variable("FAKE_LOG", log.clone())
            .variable(variable, happens);
        let checkpoint = Checkpoint::at(test.path("model")).with_config(|config| {
            if moment == Moment::Opening {
                config.insert("happens".into(), "hangs".into());
            }
        });
        let child = start(&test, checkpoint.folder(), moment);
        wait_until(|| log.exists());
        if moment == Moment::Idle {
            thread::sleep(Duration::from_millis(500));
        }
        Self { test, child }
    }

    /// Whether the Python is there: it holds a lock as long as it lives.
    fn has_python(&self) -> bool {
        let lock = File::open(self.test.path("lock")).unwrap();
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    }
}

fn start(test: &CliTest, model: &Path, moment: Moment) -> Child {
    let python = repository().join("plugins/references/hf-python/src/fakes/python.sh");
    let mut launcher = Command::new("python3");
    launcher.args(["-c", WITH_CTRL_C]).arg(test.executable());
    let mut tlbench = test.within(launcher);
    tlbench
        .arg("--model")
        .arg(model)
        .arg("--python")
        .arg(python);
    if moment == Moment::Idle {
        // Without a reader the report cannot be written, so that the run does not end.
        tlbench.arg("--output").arg(pipe(test.path("report")));
    }
    tlbench
        .stdout(Stdio::null())
        .stderr(File::create(test.path("stderr")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn there_is_a_python() -> bool {
    let script = "import sys; sys.exit(sys.version_info < (3, 9))";
    let python = Command::new("python3").args(["-c", script]).status();
    let there = python.is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: there is no `python3` of 3.9 or later on this machine");
    }
    there
}

fn pipe(path: PathBuf) -> PathBuf {
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

#[track_caller]
fn wait_until(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn no_python_is_left(moment: Moment) {
    if !there_is_a_python() {
        return;
    }
    for end in [End::InterruptOfAll, End::InterruptOfTlbench, End::Kill] {
        let mut running = Running::until(moment);
        assert!(running.has_python(), "{end:?}");
        end.send(&running.child);
        // A shell reports 128 more.
        let status = running.child.wait().unwrap();
        assert_eq!(status.signal(), Some(end.signal()), "{status}");
        wait_until(|| !running.has_python());
        let stderr = std::fs::read_to_string(running.test.path("stderr")).unwrap();
        assert!(!stderr.contains("Traceback"), "{end:?}: {stderr}");
    }
}

#[test]
fn no_python_is_left_importing() {
    no_python_is_left(Moment::Importing);
}

#[test]
fn no_python_is_left_opening() {
    no_python_is_left(Moment::Opening);
}

#[test]
fn no_python_is_left_computing() {
    no_python_is_left(Moment::Computing);
}

#[test]
fn no_python_is_left_idle() {
    no_python_is_left(Moment::Idle);
}

#[test]
fn no_python_is_left_by_a_run_that_ends_by_itself() {
    if !there_is_a_python() {
        return;
    }
    let test = CliTest::new();
    let lock = test.write("lock", "");
    let test = test
        .variable("FAKE_LOCK", lock)
        .variable("FAKE_WORK", "lacks_memory");
    let checkpoint = Checkpoint::at(test.path("model"));
    let status = start(&test, checkpoint.folder(), Moment::Computing).wait();
    assert_eq!(status.unwrap().code(), Some(101));
    let lock = File::open(test.path("lock")).unwrap();
    assert!(lock.try_lock().is_ok());
}
