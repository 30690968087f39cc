//! Where a model comes from.

use std::fmt;
use std::path::{Path, PathBuf};

use tlbench_hub::HubId;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// `path`: the folder of a checkpoint.
    Folder(PathBuf),
    /// `hub`: a model of the HuggingFace Hub.
    Hub(HubId),
}

impl ModelSource {
    /// What `text` on the command line means: a model of the Hub, if it has the form of one and nothing of that name is
    /// here. A name alone is a folder, since it is more often a mistyped one than a model of the Hub without an owner.
    pub(super) fn of_argument(text: &str) -> Self {
        let has_form = text.contains(['/', '@']) && !Path::new(text).exists();
        match text.parse() {
            Ok(id) if has_form => Self::Hub(id),
            _ => Self::Folder(text.into()),
        }
    }

    /// How the model is called if nobody calls it anything else.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Folder(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                name.to_string_lossy().into_owned()
            }
            Self::Hub(id) => id.name().to_owned(),
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Hub(id) => id.fmt(f),
        }
    }
}
