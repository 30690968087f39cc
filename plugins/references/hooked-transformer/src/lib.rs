//! HookedTransformer as a second opinion: a textbook transformer that the same spec drives.
//!
//! It is written to be read beside the papers: weights are per head and in TransformerLens's layout, every step is one
//! of candle's plain operations, and nothing is fused; only a product by a constant has a backward of its own, which keeps
//! no gradient of that. It shares no code with the engine, so that what both agree on is no mistake of the engine's. It
//! shares the spec, so a mistake of the adapter is in both.

mod answer;
mod backward;
mod cache;
mod checkpoint;
mod convert;
mod error;
mod generate;
mod inputs;
mod matrix;
mod model;
mod objective;
mod one_thread;
mod order;
mod packing;
mod parameters;
mod processing;
mod run;
mod run_weights;
mod source;
mod stack;
#[cfg(test)]
mod tests;
mod weight;

use tlbench_sdk::{
    DType, Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, Tier, TraceSource,
};

use crate::source::Source;

tlbench_sdk::plugin! {
    references: [HookedTransformerReference],
}

#[derive(Default)]
struct HookedTransformerReference;

impl ReferenceModel for HookedTransformerReference {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "hooked-transformer".to_owned(),
            description:
                "a textbook transformer with TransformerLens's hooks and weight processing"
                    .to_owned(),
            tier: Tier::HookedTransformer,
            rank: Some(0),
            can_be_subject: false,
        }
    }

    fn open(
        &self,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        if !matches!(request.dtype, DType::F32 | DType::F64) {
            return Err(PluginError::unsupported(format!(
                "hooked-transformer computes in f32 and f64, and does not know how {} is to be rounded",
                request.dtype
            )));
        }
        host.progress("reading weights into HookedTransformer");
        Ok(Box::new(Source::open(request)?))
    }
}
