//! candle-transformers' own models: another port, as a second opinion that is asked for by name, or on trial.
//!
//! They run as that crate ships them. What they cannot do is refused with the reason:
//!
//! - they show logits alone, of the last position alone, so every position is asked for with a prefix that ends there;
//! - they take no attention mask and no positions, so a padded batch cannot be asked about;
//! - most of their fused operations have no backward pass and drop gradients silently, so none are given;
//! - in f64 their rotary tables and some of their logits are f32, so that their truth is one of about 1e-7.

mod answer;
mod config;
mod error;
mod generate;
mod inputs;
mod ports;
mod source;
#[cfg(test)]
mod tests;

use tlbench_sdk::{
    Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, Tier, TraceSource,
};

use crate::source::Source;

tlbench_sdk::plugin! {
    references: [HfCandle],
}

#[derive(Default)]
struct HfCandle;

impl ReferenceModel for HfCandle {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "hf-candle".to_owned(),
            description: "candle-transformers' own model of the family, where it has one"
                .to_owned(),
            tier: Tier::HookedTransformer,
            rank: None,
            can_be_subject: true,
        }
    }

    fn open(
        &self,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        host.progress("reading weights for candle-transformers");
        Ok(Box::new(Source::open(request)?))
    }
}
