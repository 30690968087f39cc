//! HuggingFace transformers as a reference, live: a worker process in the user's own Python.
//!
//! Python computes on its own side of a pipe, so that whatever happens to it is an error here and nothing more. All
//! that will be asked is asked in one go when a model is opened, because the rounding error on a short input is only
//! known together with the one on a long input; the answers are kept as a [`Recording`]. What comes up later is asked
//! then. One Python serves the models of a run one after the other.

mod answerable;
mod continuation;
mod floors;
mod questions;
mod source;
mod sources;
#[cfg(test)]
mod tests;

use tlbench_python_worker::Pool;
use tlbench_sdk::{
    Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, Tier, TraceSource,
};

use crate::source::Live;
use crate::sources::PROGRAM;

tlbench_sdk::plugin! {
    references: [HfPython::default()],
}

struct HfPython {
    pythons: Pool,
}

impl Default for HfPython {
    fn default() -> Self {
        Self {
            pythons: Pool::new(&PROGRAM),
        }
    }
}

impl ReferenceModel for HfPython {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "hf-python".to_owned(),
            description: "HuggingFace transformers, live in Python (TLBENCH_PYTHON, or `python3`)"
                .to_owned(),
            tier: Tier::HuggingFace,
            rank: Some(1),
            can_be_subject: false,
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
