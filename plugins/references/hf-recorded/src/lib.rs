//! HuggingFace transformers as a reference, from a recording: no Python is needed to compare with it.
//!
//! A recording speaks for one config and one set of weights. One of anything else is refused, not believed.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use tlbench_checkpoint::{RECORDING_FILE, Recording};
use tlbench_sdk::{
    DType, Host, OpenRequest, PluginError, ReferenceInfo, ReferenceModel, SourceInfo, Tier, Trace,
    TraceRequest, TraceSource,
};

tlbench_sdk::plugin! {
    references: [HfRecorded],
}

/// Answers from a recording: the one that the user names, or the one beside the checkpoint.
struct HfRecorded;

impl ReferenceModel for HfRecorded {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "hf-recorded".to_owned(),
            description: "HuggingFace transformers, from a recording made with `tlbench record`"
                .to_owned(),
            tier: Tier::HuggingFace,
            rank: Some(0),
            can_be_subject: false,
        }
    }

    fn open(
        &self,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        let file = locate(request)?;
        host.progress(&format!("reading {}", file.display()));
        let recording = Recording::read(&file)?;
        check_digests(&recording, request, &file)?;
        let precision = choose_precision(&recording, request.dtype, &file)?;
        Ok(Box::new(Answers {
            recording,
            precision,
        }))
    }
}

/// A named recording has to be there: not finding it is an error when it is read. Not finding one beside the checkpoint
/// means that another reference is asked.
fn locate(request: &OpenRequest) -> Result<PathBuf, PluginError> {
    if let Some(named) = &request.recording {
        return Ok(named.clone());
    }
    let beside = request.folder.join(RECORDING_FILE);
    if beside.exists() {
        return Ok(beside);
    }
    Err(PluginError::unsupported(format!(
        "no recording at {} (make one with `tlbench record {}`)",
        beside.display(),
        request.folder.display()
    )))
}

fn check_digests(
    recording: &Recording,
    request: &OpenRequest,
    file: &Path,
) -> Result<(), PluginError> {
    let digests = [
        (
            "another config",
            &recording.config_digest,
            &request.config_digest,
        ),
        (
            "other weights",
            &recording.weights_digest,
            &request.weights_digest,
        ),
    ];
    for (of_what, recorded, found) in digests {
        if recorded != found {
            return Err(PluginError::invalid_input(format!(
                "{}: recording of {of_what}: {recorded}, checkpoint has {found}",
                file.display()
            )));
        }
    }
    Ok(())
}

/// The precision whose floors the subject is judged by. An f64 subject is held to more than the floors of f32, by what
/// storing the truth in f32 costs, so they serve it as well.
fn choose_precision(
    recording: &Recording,
    subject: DType,
    file: &Path,
) -> Result<DType, PluginError> {
    let wanted = match subject {
        DType::F64 => DType::F32,
        other => other,
    };
    if recording.precisions().any(|precision| precision == wanted) {
        return Ok(wanted);
    }
    let held: Vec<&str> = recording.precisions().map(DType::name).collect();
    Err(PluginError::unsupported(format!(
        "{}: the recording knows the rounding errors of {}, which say nothing about {subject}",
        file.display(),
        if held.is_empty() {
            "no precision".to_owned()
        } else {
            held.join(", ")
        },
    )))
}

struct Answers {
    recording: Recording,
    precision: DType,
}

impl TraceSource for Answers {
    fn info(&self) -> SourceInfo {
        self.recording.source_info(self.precision)
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        self.recording.answer(request, self.precision)
    }
}
