//! References that panic. They answer only where they are named.

use std::path::PathBuf;

use tlbench_sdk::{
    Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, SourceInfo, Tier, Trace,
    TraceRequest, TraceSource,
};

/// Panics when it is opened.
pub(crate) struct Opening;

impl ReferenceModel for Opening {
    fn info(&self) -> ReferenceInfo {
        info("panics-in-open")
    }

    fn open(&self, _: &OpenRequest, _: &dyn Host) -> Result<Box<dyn TraceSource>, PluginError> {
        panic!("not to be opened")
    }
}

/// Panics when it is asked.
pub(crate) struct Tracing;

impl ReferenceModel for Tracing {
    fn info(&self) -> ReferenceInfo {
        info("panics-in-trace")
    }

    fn open(&self, _: &OpenRequest, _: &dyn Host) -> Result<Box<dyn TraceSource>, PluginError> {
        Ok(Box::new(Mute))
    }
}

struct Mute;

impl TraceSource for Mute {
    fn info(&self) -> SourceInfo {
        SourceInfo::default()
    }

    fn trace(&self, _: &TraceRequest) -> Result<Trace, PluginError> {
        panic!("no answer")
    }
}

/// Panics when it is dropped, once it has written the file that its option `witness` names.
pub(crate) struct Dropping;

impl ReferenceModel for Dropping {
    fn info(&self) -> ReferenceInfo {
        info("panics-in-drop")
    }

    fn open(
        &self,
        request: &OpenRequest,
        _: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        let witness = request
            .options
            .get("witness")
            .and_then(|path| path.as_str())
            .ok_or_else(|| PluginError::invalid_input("no option `witness`"))?;
        Ok(Box::new(Fragile(witness.into())))
    }
}

struct Fragile(PathBuf);

impl TraceSource for Fragile {
    fn info(&self) -> SourceInfo {
        SourceInfo::default()
    }

    fn trace(&self, _: &TraceRequest) -> Result<Trace, PluginError> {
        Err(PluginError::unsupported("it answers nothing"))
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        let written = std::fs::write(&self.0, "dropped");
        panic!("dropped: {written:?}")
    }
}

fn info(id: &str) -> ReferenceInfo {
    ReferenceInfo {
        id: id.into(),
        description: "panics".into(),
        tier: Tier::HuggingFace,
        rank: None,
        can_be_subject: false,
    }
}
