//! Where a model lies: its folder, or the copy of a model of the Hub.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tlbench_checkpoint::CheckpointError;
use tlbench_hub::{Hub, HubError, HubId, Settings, Snapshot, Step};

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
    #[error(transparent)]
    Hub(HubError),
    /// It is not to be had from the Hub, and may be meant to be a folder.
    #[error("{error}; nor has the folder `{folder}` a `{name}` in it")]
    NorFolder {
        /// Why it is not to be had from the Hub.
        error: HubError,
        /// A folder that is here.
        folder: String,
        /// What is not in it.
        name: String,
    },
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
            ModelSource::Hub(id) => fetch(id, offline, Hub::fetch, sink),
        }
    }

    /// Finds the model's config, and downloads no more than that.
    ///
    /// # Errors
    /// As above.
    pub fn find_config(
        source: &ModelSource,
        offline: bool,
        sink: &dyn EventSink,
    ) -> Result<Self, LocateError> {
        match source {
            ModelSource::Folder(path) => folder(path),
            ModelSource::Hub(id) => fetch(id, offline, Hub::fetch_config, sink),
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
            let name = id.name();
            Some(format!("a model of the Hub is named owner/{name} or {id}"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("nor is it a model of the Hub: {}", error.problem)),
    }
}

/// How the Hub is asked for a model, or for a part of it.
type Fetch = fn(&Hub, &HubId, &dyn Fn(Step<'_>)) -> Result<Snapshot, HubError>;

fn fetch(
    id: &HubId,
    offline: bool,
    how: Fetch,
    sink: &dyn EventSink,
) -> Result<Located, LocateError> {
    let snapshot = || {
        let mut settings = Settings::from_environment()?;
        settings.offline |= offline;
        how(&Hub::new(settings), id, &|step| sink.emit(event(&step)))
    };
    let snapshot = snapshot().map_err(|error| not_to_be_had(id, error))?;
    Ok(Located {
        folder: snapshot.folder,
        hub: Some(HubCopy {
            id: id.to_string(),
            commit: snapshot.commit.to_string(),
        }),
    })
}

/// A mistyped path may have the form of a name on the Hub.
fn not_to_be_had(id: &HubId, error: HubError) -> LocateError {
    match id.repository().split_once('/') {
        Some((folder, name)) if error.is_absence() && Path::new(folder).is_dir() => {
            LocateError::NorFolder {
                error,
                folder: folder.to_owned(),
                name: name.to_owned(),
            }
        }
        _ => LocateError::Hub(error),
    }
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
