//! What a plugin exports: a root module that lists four kinds of objects.

#![expect(
    non_local_definitions,
    unused_qualifications,
    reason = "abi_stable's macros expand to such code"
)]

use std::ffi::c_void;

use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RResult, RStr, RString, RVec, Tuple2};
use abi_stable::{StableAbi, sabi_trait};

use super::tensor::FfiTensor;

/// The symbol under which abi_stable looks for the root module.
pub const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// JSON text, and the tensors that belong to it by name.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct FfiMessage {
    pub(super) json: RString,
    pub(super) tensors: RVec<Tuple2<RString, FfiTensor>>,
}

/// An answer, or a `PluginError` as JSON text.
pub(crate) type FfiResult<T> = RResult<T, RString>;

/// What the host offers while a plugin works.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct FfiHost {
    pub(super) context: *const c_void,
    pub(super) progress: extern "C" fn(*const c_void, RStr<'_>),
}

#[sabi_trait]
pub(crate) trait FfiArchitecture: Send + Sync {
    fn info(&self) -> FfiResult<FfiMessage>;
    #[sabi(last_prefix_field)]
    fn spec(&self, config: FfiMessage) -> FfiResult<FfiMessage>;
}

#[sabi_trait]
pub(crate) trait FfiReference: Send + Sync {
    fn info(&self) -> FfiResult<FfiMessage>;
    #[sabi(last_prefix_field)]
    fn open(&self, request: FfiMessage, host: FfiHost) -> FfiResult<FfiSourceBox>;
}

#[sabi_trait]
pub(crate) trait FfiSource: Send + Sync {
    fn info(&self) -> FfiResult<FfiMessage>;
    #[sabi(last_prefix_field)]
    fn trace(&self, request: FfiMessage) -> FfiResult<FfiMessage>;
}

#[sabi_trait]
pub(crate) trait FfiBenchmark: Send + Sync {
    fn info(&self) -> FfiResult<FfiMessage>;
    fn plan(&self, planning: FfiMessage) -> FfiResult<FfiMessage>;
    #[sabi(last_prefix_field)]
    fn judge(&self, question: FfiMessage) -> FfiResult<FfiMessage>;
}

#[sabi_trait]
pub(crate) trait FfiFaultZoo: Send + Sync {
    fn info(&self) -> FfiResult<FfiMessage>;
    fn edits(&self, question: FfiMessage) -> FfiResult<FfiMessage>;
    #[sabi(last_prefix_field)]
    fn repairs(&self, symptom: FfiMessage) -> FfiResult<FfiMessage>;
}

pub(crate) type FfiArchitectureBox = FfiArchitecture_TO<'static, RBox<()>>;
pub(crate) type FfiReferenceBox = FfiReference_TO<'static, RBox<()>>;
pub(crate) type FfiSourceBox = FfiSource_TO<'static, RBox<()>>;
pub(crate) type FfiBenchmarkBox = FfiBenchmark_TO<'static, RBox<()>>;
pub(crate) type FfiFaultZooBox = FfiFaultZoo_TO<'static, RBox<()>>;

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub(crate) struct PluginModule {
    pub(super) describe: extern "C" fn() -> FfiResult<FfiMessage>,
    pub(super) architectures: extern "C" fn() -> FfiResult<RVec<FfiArchitectureBox>>,
    pub(super) references: extern "C" fn() -> FfiResult<RVec<FfiReferenceBox>>,
    pub(super) benchmarks: extern "C" fn() -> FfiResult<RVec<FfiBenchmarkBox>>,
    #[sabi(last_prefix_field)]
    pub(super) faults: extern "C" fn() -> FfiResult<RVec<FfiFaultZooBox>>,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "tlbench_plugin";
    const NAME: &'static str = "tlbench_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
