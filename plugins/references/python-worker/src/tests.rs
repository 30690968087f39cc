//! Pythons that fail in every way.

mod conversation;
mod program;
mod python;
mod real;

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Map, Value, json};
use tlbench_sdk::{ErrorKind, PluginError};

use crate::tests::program::{HAPPEN, PROGRAM};
use crate::{Pool, Python};

/// What was told, in order.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How many Pythons were started.
    fn starts(&self) -> usize {
        let all = self.all();
        all.iter()
            .filter(|told| told.starts_with("starting"))
            .count()
    }
}

fn fake(name: &str) -> String {
    format!("{}/src/fakes/{name}.sh", env!("CARGO_MANIFEST_DIR"))
}

fn options(python: &str, timeout: f64) -> Map<String, Value> {
    Map::from_iter([
        ("python".to_owned(), json!(python)),
        ("timeout".to_owned(), json!(timeout)),
    ])
}

fn take(pool: &Pool, python: &str, timeout: f64, told: &Told) -> Result<Python, PluginError> {
    pool.take(&options(python, timeout), &|message| {
        told.0.lock().unwrap().push(message.to_owned());
    })
}

/// Lets something happen in Python.
fn happen(python: &Python, what: Option<&str>, told: &Told) -> Result<(), PluginError> {
    let question = json!({"happens": what});
    let answered =
        python.ask::<BTreeMap<String, bool>>(HAPPEN, question, b"blob".to_vec(), &|message| {
            told.0.lock().unwrap().push(message.to_owned());
        });
    let (answer, blob) = answered?;
    assert_eq!(
        (answer["happened"], blob.as_slice()),
        (true, b"blob".as_slice())
    );
    Ok(())
}

/// What taking and using one fails with, and what was told before.
fn failure(python: &str, timeout: f64) -> (PluginError, Vec<String>) {
    let told = Told::default();
    let error = take(&Pool::new(&PROGRAM), python, timeout, &told)
        .and_then(|python| happen(&python, None, &told))
        .unwrap_err();
    (error, told.all())
}
