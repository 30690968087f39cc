//! What runs inside a plugin: its registry, and the objects that it hands out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use abi_stable::library::LibHeader;
use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RResult, RStr, RString, RVec};

use super::PluginDescription;
use super::guard::{Guarded, guarded, install_panic_hook};
use super::message::{
    About, FaultOf, Outgoing, ReceivedPlanning, ReceivedQuestion, decode, encode,
};
use super::objects::{
    FfiArchitecture, FfiArchitecture_TO, FfiArchitectureBox, FfiBenchmark, FfiBenchmark_TO,
    FfiBenchmarkBox, FfiFaultZoo, FfiFaultZoo_TO, FfiFaultZooBox, FfiHost, FfiMessage,
    FfiReference, FfiReference_TO, FfiReferenceBox, FfiResult, FfiSource, FfiSource_TO,
    FfiSourceBox, PluginModule, PluginModuleRef,
};
use crate::adapter::{Adapted, ArchitectureAdapter};
use crate::benchmark::{Benchmark, ModelInfo};
use crate::config::ConfigReader;
use crate::error::PluginError;
use crate::fault::{FaultZoo, Symptom};
use crate::reference::{Host, OpenRequest, ReferenceModel, TraceSource};
use crate::trace::TraceRequest;

/// One thing that a plugin offers; `plugin!` submits them.
pub enum Registration {
    /// A model family.
    Architecture(fn() -> Box<dyn ArchitectureAdapter>),
    /// A reference.
    Reference(fn() -> Box<dyn ReferenceModel>),
    /// A benchmark.
    Benchmark(fn() -> Box<dyn Benchmark>),
    /// Mistakes.
    Faults(fn() -> Box<dyn FaultZoo>),
}

inventory::collect!(Registration);

/// The plugin's own name and version; `plugin!` submits it.
pub struct PluginIdentity {
    /// The crate's name.
    pub name: &'static str,
    /// The crate's version.
    pub version: &'static str,
}

inventory::collect!(PluginIdentity);

/// The header that a plugin exports as [`ROOT_SYMBOL`](super::ROOT_SYMBOL).
pub const fn root_header() -> LibHeader {
    // SAFETY: `load_root_module` returns the module that `PluginModuleRef` describes.
    unsafe {
        LibHeader::from_constructor::<PluginModuleRef>(load_root_module, CheckTypeLayout::Yes)
    }
}

extern "C" fn load_root_module() -> RootModuleResult {
    __call_root_module_loader(root_module)
}

fn root_module() -> PluginModuleRef {
    install_panic_hook();
    PluginModule {
        describe,
        architectures,
        references,
        benchmarks,
        faults,
    }
    .leak_into_prefix()
}

extern "C" fn describe() -> FfiResult<FfiMessage> {
    reply(|| {
        let identity = inventory::iter::<PluginIdentity>
            .into_iter()
            .next()
            .ok_or_else(|| PluginError::internal("the plugin does not say what it is"))?;
        Ok(PluginDescription {
            name: identity.name.to_owned(),
            version: identity.version.to_owned(),
        })
    })
}

extern "C" fn architectures() -> FfiResult<RVec<FfiArchitectureBox>> {
    collect(|registration| match registration {
        Registration::Architecture(make) => Some(FfiArchitecture_TO::from_value(
            ArchitectureObject(Guarded::new(make())),
            TD_Opaque,
        )),
        _ => None,
    })
}

extern "C" fn references() -> FfiResult<RVec<FfiReferenceBox>> {
    collect(|registration| match registration {
        Registration::Reference(make) => Some(FfiReference_TO::from_value(
            ReferenceObject(Guarded::new(make())),
            TD_Opaque,
        )),
        _ => None,
    })
}

extern "C" fn benchmarks() -> FfiResult<RVec<FfiBenchmarkBox>> {
    collect(|registration| match registration {
        Registration::Benchmark(make) => Some(benchmark_object(make())),
        _ => None,
    })
}

extern "C" fn faults() -> FfiResult<RVec<FfiFaultZooBox>> {
    collect(|registration| match registration {
        Registration::Faults(make) => Some(FfiFaultZoo_TO::from_value(
            FaultZooObject(Guarded::new(make())),
            TD_Opaque,
        )),
        _ => None,
    })
}

pub(super) fn benchmark_object(benchmark: Box<dyn Benchmark>) -> FfiBenchmarkBox {
    let object = BenchmarkObject {
        benchmark: Guarded::new(benchmark),
        planned: Mutex::default(),
    };
    FfiBenchmark_TO::from_value(object, TD_Opaque)
}

fn collect<T>(wrap: impl Fn(&Registration) -> Option<T>) -> FfiResult<RVec<T>> {
    into_ffi(guarded(|| {
        Ok(inventory::iter::<Registration>
            .into_iter()
            .filter_map(wrap)
            .collect())
    }))
}

struct ArchitectureObject(Guarded<dyn ArchitectureAdapter>);

impl FfiArchitecture for ArchitectureObject {
    fn info(&self) -> FfiResult<FfiMessage> {
        answer(&self.0, |adapter| Ok(adapter.info()))
    }

    fn spec(&self, config: FfiMessage) -> FfiResult<FfiMessage> {
        answer(&self.0, |adapter| {
            let config = ConfigReader::new(decode(config)?);
            config.refuse_quantised()?;
            let spec = adapter.spec(&config)?;
            // JSON writes NaN as null; here it can still be named.
            spec.check()?;
            Ok(Adapted {
                spec,
                keys_read: config.keys_read(),
                keys_neutral: config.keys_neutral(),
            })
        })
    }
}

struct ReferenceObject(Guarded<dyn ReferenceModel>);

impl FfiReference for ReferenceObject {
    fn info(&self) -> FfiResult<FfiMessage> {
        answer(&self.0, |reference| Ok(reference.info()))
    }

    fn open(&self, request: FfiMessage, host: FfiHost) -> FfiResult<FfiSourceBox> {
        into_ffi(self.0.call(|reference| {
            let request: OpenRequest = decode(request)?;
            let source = reference.open(&request, &HostHandle(host))?;
            Ok(FfiSource_TO::from_value(
                SourceObject(Guarded::new(source)),
                TD_Opaque,
            ))
        }))
    }
}

struct SourceObject(Guarded<dyn TraceSource>);

impl FfiSource for SourceObject {
    fn info(&self) -> FfiResult<FfiMessage> {
        answer(&self.0, |source| {
            let info = source.info();
            info.check()?;
            Ok(info)
        })
    }

    fn trace(&self, request: FfiMessage) -> FfiResult<FfiMessage> {
        answer(&self.0, |source| {
            let request: TraceRequest = decode(request)?;
            let trace = source.trace(&request)?;
            // As above, for floors.
            trace.check(&request)?;
            Ok(trace)
        })
    }
}

struct BenchmarkObject {
    benchmark: Guarded<dyn Benchmark>,
    /// The models that were planned for last, by the place that the host gave each.
    planned: Mutex<BTreeMap<usize, Arc<ModelInfo>>>,
}

impl BenchmarkObject {
    fn planned(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<ModelInfo>>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FfiBenchmark for BenchmarkObject {
    fn info(&self) -> FfiResult<FfiMessage> {
        answer(&self.benchmark, |benchmark| Ok(benchmark.info()))
    }

    fn plan(&self, planning: FfiMessage) -> FfiResult<FfiMessage> {
        into_ffi(self.benchmark.call(|benchmark| {
            let ReceivedPlanning { model, place } = decode(planning)?;
            let model = Arc::new(model);
            self.planned().insert(place, Arc::clone(&model));
            encode(benchmark.plan(&model)?.as_slice())
        }))
    }

    fn judge(&self, question: FfiMessage) -> FfiResult<FfiMessage> {
        answer(&self.benchmark, |benchmark| {
            let question: ReceivedQuestion = decode(question)?;
            let model = match question.about {
                About::Model(model) => Arc::new(model),
                About::Kept(place) => self.planned().get(&place).cloned().ok_or_else(|| {
                    PluginError::internal("asked about the model of a plan that was not made")
                })?,
            };
            benchmark.judge(&model, &question.check, &question.answers)
        })
    }
}

struct FaultZooObject(Guarded<dyn FaultZoo>);

impl FfiFaultZoo for FaultZooObject {
    fn info(&self) -> FfiResult<FfiMessage> {
        answer(&self.0, |zoo| Ok(zoo.info()))
    }

    fn edits(&self, question: FfiMessage) -> FfiResult<FfiMessage> {
        into_ffi(self.0.call(|zoo| {
            let FaultOf { fault, spec } = decode(question)?;
            encode(zoo.edits(&fault, &spec)?.as_slice())
        }))
    }

    fn repairs(&self, symptom: FfiMessage) -> FfiResult<FfiMessage> {
        into_ffi(self.0.call(|zoo| {
            let symptom: Symptom = decode(symptom)?;
            encode(zoo.repairs(&symptom)?.as_slice())
        }))
    }
}

/// The host as a plugin sees it.
struct HostHandle(FfiHost);

// SAFETY: the host gives a context that may be used from any thread while the call lasts.
unsafe impl Send for HostHandle {}
// SAFETY: as above.
unsafe impl Sync for HostHandle {}

impl Host for HostHandle {
    fn progress(&self, message: &str) {
        (self.0.progress)(self.0.context, RStr::from_str(message));
    }
}

/// Calls an object and encodes its answer, both guarded.
fn answer<T: ?Sized, M: Outgoing>(
    object: &Guarded<T>,
    work: impl FnOnce(&T) -> Result<M, PluginError>,
) -> FfiResult<FfiMessage> {
    into_ffi(object.call(|inner| encode(&work(inner)?)))
}

fn reply<M: Outgoing>(work: impl FnOnce() -> Result<M, PluginError>) -> FfiResult<FfiMessage> {
    into_ffi(guarded(|| encode(&work()?)))
}

fn into_ffi<T>(result: Result<T, PluginError>) -> FfiResult<T> {
    match result {
        Ok(value) => RResult::ROk(value),
        Err(error) => RResult::RErr(RString::from(
            serde_json::to_string(&error).unwrap_or(error.message),
        )),
    }
}
