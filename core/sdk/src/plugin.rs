//! Turning a crate into a plugin.

/// Makes the crate a plugin that offers what is listed.
///
/// The crate has to be a `cdylib`, built with `panic = "unwind"` (the default). Its author writes nothing unsafe and
/// names no FFI type.
///
/// ```
/// # mod wrapped {
/// use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};
///
/// struct MyFamily;
///
/// impl ArchitectureAdapter for MyFamily {
///     fn info(&self) -> ArchitectureInfo {
///         ArchitectureInfo {
///             id: "my_family".into(),
///             description: "My models".into(),
///             model_types: vec!["my_family".into()],
///         }
///     }
///
///     fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
///         let layers = config.size(&["num_hidden_layers"])?;
///         # let _ = layers;
///         Err(ConfigError::new("model_type", "a family that is finished", "my_family"))
///     }
/// }
///
/// tlbench_sdk::plugin! {
///     architectures: [MyFamily],
/// }
/// # }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        $(architectures: [$($architecture:expr),* $(,)?] $(,)?)?
        $(references: [$($reference:expr),* $(,)?] $(,)?)?
        $(benchmarks: [$($benchmark:expr),* $(,)?] $(,)?)?
        $(faults: [$($zoo:expr),* $(,)?] $(,)?)?
    ) => {
        $crate::__private::inventory::submit! {
            $crate::__private::PluginIdentity {
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
            }
        }
        $($(
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Architecture(|| ::std::boxed::Box::new($architecture))
            }
        )*)?
        $($(
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Reference(|| ::std::boxed::Box::new($reference))
            }
        )*)?
        $($(
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Benchmark(|| ::std::boxed::Box::new($benchmark))
            }
        )*)?
        $($(
            $crate::__private::inventory::submit! {
                $crate::__private::Registration::Faults(|| ::std::boxed::Box::new($zoo))
            }
        )*)?

        #[doc(hidden)]
        #[unsafe(export_name = "TLBENCH_PLUGIN_STAMP")]
        pub static __TLBENCH_PLUGIN_STAMP: $crate::__private::Stamp =
            $crate::__private::Stamp::of_this_build(::core::cfg!(panic = "unwind"));

        #[doc(hidden)]
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        pub static __TLBENCH_PLUGIN_ROOT: $crate::__private::LibHeader = $crate::__private::root_header();
    };
}
