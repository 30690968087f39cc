//! Pythons that are kept from one model to the next: to import torch takes seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tlbench_sdk::PluginError;

use crate::options::Options;
use crate::program::Program;
use crate::protocol::Method;
use crate::worker::Worker;

/// A Python that serves one model, and is free for the next when this is dropped.
#[derive(Debug)]
pub struct Python(Arc<Mutex<Worker>>);

impl Python {
    /// Asks one question, and passes on what the worker says meanwhile. Question and answer may have a blob each.
    ///
    /// # Errors
    /// What the worker refuses, and whatever ends it; in the latter case it answers nothing any more.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        params: impl Serialize,
        blob: Vec<u8>,
        progress: &dyn Fn(&str),
    ) -> Result<(T, Vec<u8>), PluginError> {
        lock(&self.0).ask(method, params, blob, progress)
    }

    fn is_free(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// One that failed its last model is of no use to the next, nor one that may be in the middle of an answer.
    fn is_fit(&self) -> bool {
        !self.0.is_poisoned() && lock(&self.0).is_idle()
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The Pythons of one run that run the same program; they end with it.
#[derive(Debug)]
pub struct Pool {
    program: &'static Program,
    all: Mutex<Vec<Python>>,
}

impl Pool {
    /// One without any Python yet.
    pub const fn new(program: &'static Program) -> Self {
        Self {
            program,
            all: Mutex::new(Vec::new()),
        }
    }

    /// A Python as `options` name it, the environment, or else `python3`: one that is free, or a new one. The options
    /// are `python` and `timeout`.
    ///
    /// # Errors
    /// If an option is wrong, or there is no such Python, or it has not what the program needs.
    pub fn take(
        &self,
        options: &Map<String, Value>,
        progress: &dyn Fn(&str),
    ) -> Result<Python, PluginError> {
        let environment = self.program.python_from_environment();
        let options = Options::read(self.program.reference, options, environment)?;
        if let Some(free) = self.take_free(&options) {
            lock(&free.0).set_timeout(options.timeout);
            return Ok(free);
        }
        // Others are not kept waiting meanwhile.
        let started = Worker::start(self.program, &options, progress)?;
        let started = Python(Arc::new(Mutex::new(started)));
        lock(&self.all).push(started.share());
        Ok(started)
    }

    fn take_free(&self, options: &Options) -> Option<Python> {
        let mut all = lock(&self.all);
        all.retain(|python| !python.is_free() || python.is_fit());
        all.iter()
            .find(|python| python.is_free() && lock(&python.0).runs(&options.python))
            .map(Python::share)
    }
}

/// Whoever panicked before, this one goes on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
