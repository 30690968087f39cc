//! From a name to a folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tlbench_checkpoint::{CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, shard_names};

use crate::address::Address;
use crate::cache::{Presence, Repository};
use crate::client::Client;
use crate::description::Description;
use crate::download::Download;
use crate::error::HubError;
use crate::id::{Commit, HubId};
use crate::selection::{OPTIONAL, Selection, Weights, config_file, listed};
use crate::settings::Settings;
use crate::step::Step;

/// The Hub, with the cache of what it has.
pub struct Hub {
    settings: Settings,
    client: Client,
}

/// Where a model lies once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder.
    pub folder: PathBuf,
    /// What the revision stands for.
    pub commit: Commit,
}

impl Hub {
    /// Reached as `settings` say.
    pub fn new(settings: Settings) -> Self {
        Self {
            client: Client::new(&settings),
            settings,
        }
    }

    /// The model `id` as a folder, with those files that a model needs. `watch` sees what happens.
    ///
    /// Offline it is the copy in the cache, or none. Otherwise the Hub is asked what the revision stands for, unless it
    /// is a commit in full whose files are all there.
    ///
    /// # Errors
    /// If it cannot be had, or is no model that can be read.
    pub fn fetch(&self, id: &HubId, watch: &dyn Fn(Step<'_>)) -> Result<Snapshot, HubError> {
        let repository = Repository::new(&self.settings.cache, id);
        let commit = if self.settings.offline {
            let known = repository.commit(id.revision());
            let commit = known.filter(|commit| repository.snapshot(commit).is_dir());
            let commit = commit.ok_or_else(|| HubError::NotCached {
                id: id.clone(),
                cache: self.settings.cache.clone(),
            })?;
            check_copy(id, &repository, &commit)?;
            commit
        } else {
            match id.revision().as_commit() {
                Some(commit) if is_complete(id, &repository, &commit) => commit,
                _ => self.download(id, &repository, watch)?,
            }
        };
        Ok(Snapshot {
            folder: repository.snapshot(&commit),
            commit,
        })
    }

    /// A folder with the config of the model `id`, and with whatever else of it is in the cache. No weights are needed.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn fetch_config(&self, id: &HubId, watch: &dyn Fn(Step<'_>)) -> Result<Snapshot, HubError> {
        let repository = Repository::new(&self.settings.cache, id);
        let has_config = |commit: &Commit| {
            let presence = repository.presence(commit, CONFIG_FILE);
            matches!(presence, Presence::Present { .. })
        };
        let cached = if self.settings.offline {
            let known = repository.commit(id.revision()).filter(has_config);
            Some(known.ok_or_else(|| HubError::NotCached {
                id: id.clone(),
                cache: self.settings.cache.clone(),
            })?)
        } else {
            id.revision().as_commit().filter(has_config)
        };
        let commit = match cached {
            Some(commit) => commit,
            None => self.download_config(id, &repository, watch)?,
        };
        Ok(Snapshot {
            folder: repository.snapshot(&commit),
            commit,
        })
    }

    /// The revision does not stand for the commit yet, as its copy is not complete.
    fn download_config(
        &self,
        id: &HubId,
        repository: &Repository,
        watch: &dyn Fn(Step<'_>),
    ) -> Result<Commit, HubError> {
        let description = self.describe(id)?;
        let config = config_file(id, &description)?;
        let download = Download {
            client: &self.client,
            repository,
            id,
            commit: &description.commit,
            watch,
        };
        download.missing(&[config])?;
        Ok(description.commit)
    }

    /// Completes the copy in the cache, and says of which commit it is.
    fn download(
        &self,
        id: &HubId,
        repository: &Repository,
        watch: &dyn Fn(Step<'_>),
    ) -> Result<Commit, HubError> {
        let description = self.describe(id)?;
        let Selection { mut files, weights } = Selection::of(id, &description)?;
        let commit = &description.commit;
        let download = Download {
            client: &self.client,
            repository,
            id,
            commit,
            watch,
        };
        if weights == Weights::Sharded {
            download.missing(&files)?;
            let names = shards(id, repository, commit)?;
            files = listed(id, &description, &names)?;
        }
        download.missing(&files)?;
        for name in OPTIONAL {
            if description.file(name).is_none() {
                repository.mark_absent(commit, name)?;
            }
        }
        // Last, so that offline the revision stands for a copy that is complete.
        repository.set_commit(id.revision(), commit)?;
        Ok(description.commit)
    }

    fn describe(&self, id: &HubId) -> Result<Description, HubError> {
        let url = self.client.description_url(id);
        let address = Address {
            id,
            file: None,
            url: &url,
        };
        Description::parse(address, &self.client.text(address)?)
    }
}

/// Whether nothing of `commit` can be missing.
fn is_complete(id: &HubId, repository: &Repository, commit: &Commit) -> bool {
    let is_known = |name: &&str| {
        let presence = repository.presence(commit, name);
        matches!(presence, Presence::Present { .. } | Presence::KnownAbsent)
    };
    OPTIONAL.iter().all(is_known) && check_copy(id, repository, commit).is_ok()
}

/// Whether all that a model has to have is there, and nothing that is there leads nowhere.
fn check_copy(id: &HubId, repository: &Repository, commit: &Commit) -> Result<(), HubError> {
    let presence = |name: &str| repository.presence(commit, name);
    let incomplete = |name: &str, problem| HubError::Incomplete {
        id: id.clone(),
        file: repository.snapshot(commit).join(name),
        problem,
    };
    let check = |name: &str| match presence(name) {
        Presence::Present { .. } => Ok(()),
        Presence::Dangling => Err(incomplete(name, "its content is gone from the cache")),
        Presence::KnownAbsent | Presence::Unknown => {
            Err(incomplete(name, "it is missing from the copy in the cache"))
        }
    };
    check(CONFIG_FILE)?;
    for name in OPTIONAL {
        if presence(name) == Presence::Dangling {
            check(name)?;
        }
    }
    // A copy that others made may have either form of the weights.
    if matches!(presence(INDEX_FILE), Presence::Present { .. })
        && !matches!(presence(WEIGHTS_FILE), Presence::Present { .. })
    {
        let names = shards(id, repository, commit)?;
        return names.iter().try_for_each(|name| check(name));
    }
    check(WEIGHTS_FILE)
}

/// The shards that the index in the cache names.
fn shards(
    id: &HubId,
    repository: &Repository,
    commit: &Commit,
) -> Result<BTreeSet<String>, HubError> {
    let index = repository.snapshot(commit).join(INDEX_FILE);
    shard_names(&index).map_err(|error| HubError::Index {
        id: id.clone(),
        source: Box::new(error),
    })
}
