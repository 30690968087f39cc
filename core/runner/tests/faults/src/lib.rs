//! Mistakes that a suite has to notice, as data: each has a name, a description, and the edits that make it. Those that real
//! ports make of models are in `plugins/faults`; here are those of whoever answers, and of adapters. They are
//! edits of what a right implementation runs, is asked and shows, so that nothing that a faulty one answers is made up.

#![warn(missing_docs)]

mod answers;
mod arrays;
mod catalogue;
mod leftovers;
mod places;
mod questions;
pub mod spec;
mod weights;

use tlbench_sdk::{
    ModelSpec, PluginError, Processing, Quantity, Tensor, TensorMap, Trace, TraceRequest,
};

pub use catalogue::{FAULTS, VARIATIONS};

/// A mistake with a name.
#[derive(Debug)]
pub struct Fault {
    /// By which configs ask for it.
    pub id: &'static str,
    /// What is wrong, in words that go on from "the subject has".
    pub description: &'static str,
    /// What makes it; nothing: there is no mistake.
    pub edits: &'static [Edit],
}

impl Fault {
    /// The one of this name.
    pub fn named(id: &str) -> Option<&'static Self> {
        let mut all = FAULTS.iter().chain(VARIATIONS);
        all.find(|fault| fault.id == id)
    }
}

/// One change of a right implementation.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// Of the spec, in some of the runs.
    Spec(Scope, fn(&mut ModelSpec)),
    /// Of processed weights: each of these has this value.
    Weights(fn(&Processed<'_>) -> Result<TensorMap, PluginError>),
    /// Of the question, before it is answered.
    Question(fn(&ModelSpec, &mut Question)),
    /// Of the question, by the run before it.
    Leftover(fn(&Run, &mut Question)),
    /// Of the place where something is looked at: there the value of another quantity is shown.
    Place(fn(&Quantity) -> Option<Quantity>),
    /// Of the answer.
    Answer(fn(&TraceRequest, &mut Trace)),
}

/// In which runs a spec is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all.
    Everywhere,
    /// In those through a KV cache.
    Cached,
}

impl Scope {
    /// Whether `request` is one of its runs.
    pub fn has(self, request: &TraceRequest) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Cached => questions::is_cached(request),
        }
    }
}

/// What is asked of the right implementation, and how it is to compute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// What is asked.
    pub request: TraceRequest,
    /// In how many pieces each product is summed.
    pub pieces: Option<usize>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was asked.
    pub asked: TraceRequest,
    /// What was answered in its place.
    pub answered: Question,
    /// How many there have been, this one included.
    pub runs: usize,
}

/// Weights that were processed as they have to be.
pub struct Processed<'a> {
    /// The spec, as it was before.
    pub spec: &'a ModelSpec,
    /// What was done to them.
    pub processing: &'a Processing,
    /// A weight after other steps, by its canonical name.
    pub weight: &'a dyn Fn(&str, &Processing) -> Result<Tensor, PluginError>,
}
