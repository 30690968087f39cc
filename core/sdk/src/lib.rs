//! The one crate that the author of a tlbench plugin depends on.
//!
//! A plugin offers [`ArchitectureAdapter`]s, [`ReferenceModel`]s, [`Benchmark`]s or [`FaultZoo`]s, and says so with
//! [`plugin!`].
//! An architecture is data (a [`spec::ModelSpec`]); a question to a model is data (a [`TraceRequest`]), and so is its
//! answer (a [`Trace`]).

#![warn(missing_docs)]

mod abi;
mod adapter;
mod benchmark;
pub mod calibration;
pub mod compare;
mod config;
mod error;
mod excerpt;
mod fault;
pub mod float;
mod hooks;
pub mod host;
mod id;
pub mod judge;
pub mod mapped;
mod noise;
mod options;
mod plugin;
mod processing;
mod reference;
mod result;
pub mod spec;
mod tensor;
mod trace;
mod usage;

pub use adapter::{Adapted, ArchitectureAdapter, ArchitectureInfo};
pub use benchmark::{
    BRIDGE, Benchmark, BenchmarkInfo, Check, Judgement, Judging, Mode, ModelInfo, Parameter,
    PlanError, PlannedRequest, Role, check_plan, is_large,
};
pub use config::{ConfigError, ConfigReader, HeadDefaults, HeadWidth, LayerType, RotaryKeys};
pub use error::{ErrorKind, PluginError};
pub use fault::{
    Change, Deviation, Fault, FaultEdit, FaultZoo, FaultZooInfo, Feature, Purpose, QuestionEdit,
    Remedy, Repair, Runs, Symptom, Values, WeightEdit,
};
pub use hooks::{Dim, Gate, HookPoint, hooks, layer_of, short_name};
pub use id::{IdError, check_id};
pub use noise::{noise, noise_at, uniform};
pub use options::{OptionInfo, Options};
pub use processing::{Processing, ProcessingStep};
pub use reference::{
    FiredHook, Firings, Host, OpenRequest, Padding, ReferenceInfo, ReferenceModel, SourceInfo,
    Stimulus, StimulusError, Tier, TraceSource,
};
pub use result::{Contradiction, Detail, Divergence, Measurement, Severity, Verdict};
pub use spec::ModelSpec;
pub use tensor::{DType, Element, ShapeError, Tensor, TensorMap};
pub use trace::{
    ATTENTION_MASK, Action, Evaluation, GenerateRequest, GradientRequest, INPUT_IDS, Intervention,
    Objective, POSITION_IDS, Quantity, QuantityError, Sampling, Target, Trace, TraceError,
    TraceRequest, is_padded, projection_weights,
};
pub use usage::Usage;

#[doc(hidden)]
pub mod fuzzing {
    pub use crate::abi::{Message, reread};
}

#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::abi::{LibHeader, PluginIdentity, Registration, Stamp, root_header};
}

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-benchmark.md")]
struct WritingABenchmark;
