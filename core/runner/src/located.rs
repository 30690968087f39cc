//! Where a model lies: its folder, or the copy of a model of the Hub.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tlbench_checkpoint::CheckpointError;
use tlbench_hub::{Hub, HubError, HubId, Settings, Step};

use crate::config::ModelSource;
use crate::events::{Event, EventSink};

/// Where a model lies.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is a copy of, if it is one.
    pub hub: Option<HubCopy>,
}

/// What a copy of a model of the Hub is a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HubCopy {
    /// `owner/name@revision`.
    pub id: String,
    /// What the revision stood for.
    pub commit: String,
}

/// Why a model is nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// There is no folder of that name, and it may not be meant to be one.
    #[error("{error}; {hint}")]
    NoFolder {
        /// What is there instead.
        error: CheckpointError,
        /// What may have been meant.
        hint: String,
    },
    /// It is not to be had from the Hub.
    #[error("{error}{}", beside(.error))]
    Hub {
        /// Why.
        error: HubError,
    },
}

fn beside(error: &HubError) -> &'static str {
    if error.is_absence() {
        " (there is no folder of that name, either)"
    } else {
        ""
    }
}

impl Located {
    /// Finds the model, and downloads what is missing of one of the Hub unless `offline` or the environment forbids it.
    ///
    /// # Errors
    /// If a model of the Hub is not to be had. Of a folder it is not known yet whether there is a model in it.
    pub fn find(
        source: &ModelSource,
        offline: bool,
        sink: &dyn EventSink,
    ) -> Result<Self, LocateError> {
        match source {
            ModelSource::Folder(path) => folder(path),
            ModelSource::Hub(id) => {
                fetch(id, offline, sink).map_err(|error| LocateError::Hub { error })
            }
        }
    }
}

fn folder(path: &Path) -> Result<Located, LocateError> {
    let hint = path.to_str().filter(|_| !path.exists()).and_then(hint);
    match hint {
        None => Ok(Located {
            folder: path.to_owned(),
            hub: None,
        }),
        Some(hint) => Err(LocateError::NoFolder {
            error: CheckpointError::NotAModelFolder {
                path: path.to_owned(),
                found: "nothing",
            },
            hint,
        }),
    }
}

/// What `text` may be, if it is not the path of a folder.
fn hint(text: &str) -> Option<String> {
    let is_path = text.starts_with(['.', '/', '~']) || text.matches('/').count() > 1;
    match text.parse::<HubId>() {
        _ if is_path || text.ends_with('/') => None,
        Ok(id) if !text.contains('/') => {
            Some(format!("a model of the Hub is named owner/{id} or {id}"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("nor is it a model of the Hub: {}", error.problem)),
    }
}

fn fetch(id: &HubId, offline: bool, sink: &dyn EventSink) -> Result<Located, HubError> {
    let mut settings = Settings::from_environment()?;
    settings.offline |= offline;
    let snapshot = Hub::new(settings).fetch(id, &|step| sink.emit(event(&step)))?;
    Ok(Located {
        folder: snapshot.folder,
        hub: Some(HubCopy {
            id: id.to_string(),
            commit: snapshot.commit.to_string(),
        }),
    })
}

fn event(step: &Step<'_>) -> Event {
    match step {
        Step::Arrived(transfer) => Event::Download {
            file: transfer.file.to_owned(),
            done: transfer.done,
            total: transfer.total,
            bytes_per_second: transfer.bytes_per_second,
        },
        Step::Planned { .. } | Step::Waiting { .. } | Step::Retrying { .. } => Event::Progress {
            message: step.to_string(),
        },
    }
}
