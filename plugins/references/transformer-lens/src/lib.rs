//! TransformerLens itself, live: `HookedTransformer` or `TransformerBridge` in a worker process in the user's own Python.
//!
//! As a reference its truth is what it computes in f64, and its floors are the errors of its own f32 runs. As a subject it
//! answers with what it computes in the precision on trial. The worker answers one question in one precision; what that is
//! worth is found out here.

mod architecture;
mod options;
mod program;
mod refusal;
mod source;
#[cfg(test)]
mod tests;

use tlbench_python_worker::Pool;
use tlbench_sdk::{
    Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, Tier, TraceSource,
};

use crate::program::PROGRAM;
use crate::source::Live;

tlbench_sdk::plugin! {
    references: [TransformerLens::default()],
}

struct TransformerLens {
    pythons: Pool,
}

impl Default for TransformerLens {
    fn default() -> Self {
        Self {
            pythons: Pool::new(&PROGRAM),
        }
    }
}

impl ReferenceModel for TransformerLens {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: PROGRAM.reference.to_owned(),
            description:
                "TransformerLens, live in Python (TLBENCH_TRANSFORMER_LENS_PYTHON, or `python3`)"
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
        Ok(Box::new(Live::open(&self.pythons, request, host)?))
    }
}
