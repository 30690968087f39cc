//! What runs in the host: a plugin's objects, as the traits that they are.
//!
//! What a plugin checks before it sends is checked again: it may have been built to skip that.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use abi_stable::library::{AbiHeaderRef, LibraryError};
use abi_stable::std_types::{RResult, RStr, RString, RVec};

use super::PluginDescription;
use super::message::{About, FaultOf, Incoming, Planning, Question, decode, encode};
use super::objects::{
    FfiArchitectureBox, FfiBenchmarkBox, FfiFaultZooBox, FfiHost, FfiMessage, FfiReferenceBox,
    FfiResult, FfiSourceBox, PluginModuleRef,
};
use crate::adapter::{Adapted, ArchitectureInfo};
use crate::benchmark::{Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo};
use crate::error::PluginError;
use crate::fault::{FaultEdit, FaultZoo, FaultZooInfo, Remedy, Repair, Symptom};
use crate::reference::{Host, OpenRequest, ReferenceInfo, ReferenceModel, SourceInfo, TraceSource};
use crate::spec::ModelSpec;
use crate::trace::{Trace, TraceRequest};

/// A loaded plugin: what it says of itself, and its objects with what they say of themselves.
pub struct LoadedPlugin {
    /// Name and version.
    pub description: PluginDescription,
    /// Its model families.
    pub architectures: Vec<ForeignArchitecture>,
    /// Its references.
    pub references: Vec<ForeignReference>,
    /// Its benchmarks.
    pub benchmarks: Vec<ForeignBenchmark>,
    /// Its mistakes.
    pub faults: Vec<ForeignFaultZoo>,
}

/// Why a plugin with a good stamp could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The header is not abi_stable's.
    #[error("its root module was exported by another version of abi_stable")]
    Header,
    /// The types at the boundary differ although the ABI version does not.
    #[error(
        "its types at the boundary are laid out differently although its stamp matches; rebuild it"
    )]
    Layout {
        /// abi_stable's report, hundreds of lines.
        report: String,
    },
    /// The plugin failed while it listed what it offers.
    #[error("it failed to list what it offers: {0}")]
    Listing(PluginError),
}

/// Makes a plugin's objects usable, given the address of its [`ROOT_SYMBOL`](super::ROOT_SYMBOL).
///
/// # Safety
/// `header` is that symbol's address in a library that is never unloaded, and whose stamp was checked.
///
/// # Errors
/// If the layouts differ or the plugin fails to list what it offers.
pub unsafe fn attach(header: *const c_void) -> Result<LoadedPlugin, AttachError> {
    if header.is_null() {
        return Err(AttachError::Header);
    }
    // SAFETY: `AbiHeaderRef` is a transparent wrapper around a reference to the header, which the caller vouches for.
    let header: AbiHeaderRef = unsafe { std::mem::transmute(header) };
    let header = header.upgrade().map_err(|_| AttachError::Header)?;
    let module = header
        .init_root_module::<PluginModuleRef>()
        .map_err(|error| match error {
            LibraryError::InvalidAbiHeader(_) => AttachError::Header,
            other => AttachError::Layout {
                report: other.to_string(),
            },
        })?;
    list(module).map_err(AttachError::Listing)
}

fn list(module: PluginModuleRef) -> Result<LoadedPlugin, PluginError> {
    fn each<B, T>(
        list: FfiResult<RVec<B>>,
        wrap: impl Fn(B) -> Result<T, PluginError>,
    ) -> Result<Vec<T>, PluginError> {
        from_ffi(list)?.into_iter().map(wrap).collect()
    }
    Ok(LoadedPlugin {
        description: receive(module.describe()())?,
        architectures: each(module.architectures()(), |object| {
            Ok(ForeignArchitecture {
                info: receive(object.info())?,
                object,
            })
        })?,
        references: each(module.references()(), |object| {
            Ok(ForeignReference {
                info: receive(object.info())?,
                object,
            })
        })?,
        benchmarks: each(module.benchmarks()(), |object| {
            Ok(ForeignBenchmark {
                info: receive(object.info())?,
                object,
                planned: RwLock::default(),
            })
        })?,
        faults: each(module.faults()(), |object| {
            Ok(ForeignFaultZoo {
                info: receive(object.info())?,
                object,
            })
        })?,
    })
}

/// A model family of a plugin. Reading a config returns the keys read as well, since the reader lives in the plugin.
pub struct ForeignArchitecture {
    info: ArchitectureInfo,
    object: FfiArchitectureBox,
}

impl ForeignArchitecture {
    /// What it is.
    pub fn info(&self) -> &ArchitectureInfo {
        &self.info
    }

    /// Reads a config.
    ///
    /// # Errors
    /// The adapter's, a panic of it, or a spec that no model can have.
    pub fn adapt(
        &self,
        config: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Adapted, PluginError> {
        let adapted: Adapted = receive(self.object.spec(encode(config)?))?;
        adapted.spec.check()?;
        Ok(adapted)
    }
}

/// A reference of a plugin.
pub struct ForeignReference {
    info: ReferenceInfo,
    object: FfiReferenceBox,
}

impl ReferenceModel for ForeignReference {
    fn info(&self) -> ReferenceInfo {
        self.info.clone()
    }

    fn open(
        &self,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        let message = encode(request)?;
        let context = &raw const host;
        let host = FfiHost {
            context: context.cast(),
            progress: forward_progress,
        };
        let object = from_ffi(self.object.open(message, host))?;
        let info: SourceInfo = receive(object.info())?;
        info.check()?;
        Ok(Box::new(ForeignSource { info, object }))
    }
}

extern "C" fn forward_progress(context: *const c_void, message: RStr<'_>) {
    let forward = || {
        // SAFETY: `context` is the address of the `&dyn Host` that `open` was called with, and `open` has not returned.
        let host: &dyn Host = unsafe { *context.cast::<&dyn Host>() };
        host.progress(message.as_str());
    };
    // Unwinding into the plugin would end the process.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(forward)) {
        forget(payload);
    }
}

/// A payload may panic when it is dropped.
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}

struct ForeignSource {
    info: SourceInfo,
    object: FfiSourceBox,
}

impl TraceSource for ForeignSource {
    fn info(&self) -> SourceInfo {
        self.info.clone()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let trace: Trace = receive(self.object.trace(encode(request)?))?;
        trace.check(request)?;
        Ok(trace)
    }
}

/// A benchmark of a plugin.
pub struct ForeignBenchmark {
    info: BenchmarkInfo,
    object: FfiBenchmarkBox,
    /// While a question about one of them is on its way, none is replaced.
    planned: RwLock<Planned>,
}

/// The models that a benchmark planned for last, which the plugin has kept as well, each in the same place.
#[derive(Default)]
struct Planned {
    models: [Option<ModelInfo>; KEPT],
    /// The place of the oldest.
    next: usize,
}

/// How many models may be judged at once, so that no plugin forgets one in the meantime.
pub const MODELS_AT_ONCE: usize = 4;

/// How many models a plugin keeps: each is planned for raw and processed.
const KEPT: usize = 2 * MODELS_AT_ONCE;

impl Planned {
    /// Where `model` is kept.
    fn place(&self, model: &ModelInfo) -> Option<usize> {
        self.models
            .iter()
            .position(|kept| kept.as_ref() == Some(model))
    }

    /// The place of the oldest, which is forgotten.
    fn free(&mut self) -> usize {
        let place = self.next;
        self.next = (place + 1) % KEPT;
        self.models[place] = None;
        place
    }
}

impl Benchmark for ForeignBenchmark {
    fn info(&self) -> BenchmarkInfo {
        self.info.clone()
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let mut planned = self.planned.write().unwrap_or_else(PoisonError::into_inner);
        let place = planned.free();
        let checks = receive(self.object.plan(encode(&Planning { model, place })?))?;
        // What the plugin has kept after a plan that failed is not known.
        planned.models[place] = Some(model.clone());
        Ok(checks)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let planned = self.planned.read().unwrap_or_else(PoisonError::into_inner);
        let place = planned.place(model);
        receive(self.object.judge(encode(&Question {
            about: place.map_or(About::Model(model), About::Kept),
            check,
            answers,
        })?))
    }
}

/// Mistakes that a plugin knows.
pub struct ForeignFaultZoo {
    info: FaultZooInfo,
    object: FfiFaultZooBox,
}

impl FaultZoo for ForeignFaultZoo {
    fn info(&self) -> FaultZooInfo {
        self.info.clone()
    }

    fn edits(&self, fault: &str, spec: &ModelSpec) -> Result<Vec<FaultEdit>, PluginError> {
        let question = FaultOf {
            fault: fault.to_owned(),
            spec: spec.clone(),
        };
        let edits: Vec<FaultEdit> = receive(self.object.edits(encode(&question)?))?;
        for edit in &edits {
            if let FaultEdit::Spec { spec, .. } = edit {
                spec.check()?;
            }
        }
        Ok(edits)
    }

    fn repairs(&self, symptom: &Symptom) -> Result<Vec<Repair>, PluginError> {
        let repairs: Vec<Repair> = receive(self.object.repairs(encode(symptom)?))?;
        for repair in &repairs {
            // Where a number is another one, what comes of it is checked by whoever tries it.
            if let Remedy::Spec { spec, .. } = &repair.remedy {
                spec.check()?;
            }
        }
        Ok(repairs)
    }
}

fn receive<M: Incoming>(result: FfiResult<FfiMessage>) -> Result<M, PluginError> {
    decode(from_ffi(result)?)
}

fn from_ffi<T>(result: FfiResult<T>) -> Result<T, PluginError> {
    match result {
        RResult::ROk(value) => Ok(value),
        RResult::RErr(text) => Err(parse_error(&text)),
    }
}

fn parse_error(text: &RString) -> PluginError {
    serde_json::from_str(text.as_str()).unwrap_or_else(|_| PluginError::internal(text.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plugin_side::benchmark_object;
    use super::*;
    use crate::result::{Severity, Verdict};

    /// Tells which model it was asked about, and plans for none that is called `refused`.
    struct Echo;

    impl Benchmark for Echo {
        fn info(&self) -> BenchmarkInfo {
            BenchmarkInfo::new("echo", "echo", "")
        }

        fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
            if model.name == "refused" {
                return Err(PluginError::unsupported("no"));
            }
            Ok(Vec::new())
        }

        fn judge(
            &self,
            model: &ModelInfo,
            _: &Check,
            _: &[Trace],
        ) -> Result<Judgement, PluginError> {
            let verdict = Verdict::new(Severity::Info, model.name.clone());
            Ok(Judgement::Verdict(verdict))
        }
    }

    fn model(name: &str) -> ModelInfo {
        let tokens = json!({"names": ["wte"], "shape": [3, 2]});
        let spec = json!({
            "architecture": "Bigram",
            "d_model": 2,
            "d_vocab": 3,
            "n_ctx": null,
            "embedding": {"tokens": tokens, "module": null},
            "layers": [],
            "final_norm": null,
            "unembed": {"projection": {"weight": tokens, "bias": null, "tap": null}, "d_vocab_out": 3},
        });
        let model = json!({
            "name": name, "subject": "bridge", "mode": "raw", "processing": [], "dtype": "f32", "spec": spec, "hooks": [], "parameters": [],
            "reference": "r", "tier": "hugging_face", "stimuli": [], "judging": "calibrated", "options": {},
        });
        serde_json::from_value(model).unwrap()
    }

    #[test]
    fn a_question_is_about_the_model_that_it_names_whatever_was_planned_before() {
        let benchmark = ForeignBenchmark {
            info: Echo.info(),
            object: benchmark_object(Box::new(Echo)),
            planned: RwLock::default(),
        };
        let check = Check {
            variant: "x".into(),
            requests: Vec::new(),
        };
        let judged = |name: &str| match benchmark.judge(&model(name), &check, &[]) {
            Ok(Judgement::Verdict(verdict)) => verdict.message,
            other => panic!("{other:?}"),
        };
        assert_eq!(judged("a"), "a");
        benchmark.plan(&model("a")).unwrap();
        assert_eq!([judged("a"), judged("b"), judged("a")], ["a", "b", "a"]);
        benchmark.plan(&model("b")).unwrap();
        assert_eq!([judged("a"), judged("b"), judged("c")], ["a", "b", "c"]);
        // One after the other is forgotten.
        for name in 0..3 * KEPT {
            benchmark.plan(&model(&name.to_string())).unwrap();
            assert_eq!(judged(&name.to_string()), name.to_string());
            assert_eq!([judged("a"), judged("b")], ["a", "b"]);
        }
        // The plugin has kept the model of a plan that failed.
        benchmark.plan(&model("refused")).unwrap_err();
        assert_eq!([judged("a"), judged("refused")], ["a", "refused"]);
    }
}
