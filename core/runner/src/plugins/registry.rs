//! Everything that the loaded plugins offer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tlbench_sdk::host::{
    ForeignArchitecture, ForeignBenchmark, ForeignFaultZoo, ForeignReference, LoadedPlugin, Stamp,
};
use tlbench_sdk::{
    ArchitectureInfo, Benchmark, BenchmarkInfo, FaultZoo, FaultZooInfo, ReferenceModel, check_id,
};

use super::candidates::{Candidate, SearchPath};
use super::load::{LoadError, Problem, load};
use crate::config::ReferenceChoice;

/// A loaded plugin.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// The file.
    pub path: PathBuf,
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
    /// What it was built with.
    pub stamp: Stamp,
}

/// Something that a plugin offers.
pub struct Offer<T> {
    /// The thing.
    pub object: T,
    /// Where it comes from.
    pub plugin: PluginFile,
}

/// Everything that the loaded plugins offer, by id.
#[derive(Default)]
pub struct Registry {
    /// Model families.
    pub architectures: BTreeMap<String, Offer<ForeignArchitecture>>,
    /// References.
    pub references: BTreeMap<String, Offer<ForeignReference>>,
    /// Benchmarks.
    pub benchmarks: BTreeMap<String, Offer<ForeignBenchmark>>,
    /// Collections of mistakes.
    pub faults: BTreeMap<String, Offer<ForeignFaultZoo>>,
    /// The plugins, in the order in which they were loaded.
    pub plugins: Vec<PluginFile>,
    /// What could not be used.
    pub problems: Vec<Problem>,
}

impl Registry {
    /// Loads every plugin on `search`; what cannot be loaded becomes a problem, and the rest goes on.
    pub fn load(search: &SearchPath) -> Self {
        let (candidates, problems) = search.candidates();
        let mut registry = Self {
            problems,
            ..Self::default()
        };
        for candidate in &candidates {
            if let Err(error) = registry.add(candidate) {
                registry.problems.push(Problem {
                    path: candidate.path.clone(),
                    origin: candidate.origin,
                    error,
                });
            }
        }
        registry
    }

    /// The problems that forbid a run to end well.
    pub fn fatal_problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_fatal())
    }

    /// The model family for `model_type`.
    pub fn architecture_for(&self, model_type: &str) -> Option<&Offer<ForeignArchitecture>> {
        let serves = |offer: &&Offer<ForeignArchitecture>| {
            offer
                .object
                .info()
                .model_types
                .iter()
                .any(|served| served == model_type)
        };
        self.architectures.values().find(serves)
    }

    /// Every `model_type` that is served.
    pub fn model_types(&self) -> Vec<&str> {
        let all = self
            .architectures
            .values()
            .flat_map(|offer| &offer.object.info().model_types);
        all.map(String::as_str).collect()
    }

    fn add(&mut self, candidate: &Candidate) -> Result<(), LoadError> {
        let (stamp, loaded) = load(candidate)?;
        refuse_strange_ids(&loaded)?;
        self.refuse_duplicates(&loaded)?;
        let plugin = PluginFile {
            path: candidate.path.clone(),
            name: loaded.description.name,
            version: loaded.description.version,
            stamp,
        };
        let offer = |id: String, plugin: &PluginFile| (id, plugin.clone());
        for object in loaded.architectures {
            let (id, plugin) = offer(object.info().id.clone(), &plugin);
            self.architectures.insert(id, Offer { object, plugin });
        }
        for object in loaded.references {
            let (id, plugin) = offer(object.info().id, &plugin);
            self.references.insert(id, Offer { object, plugin });
        }
        for object in loaded.benchmarks {
            let (id, plugin) = offer(object.info().id, &plugin);
            self.benchmarks.insert(id, Offer { object, plugin });
        }
        for object in loaded.faults {
            let (id, plugin) = offer(object.info().id, &plugin);
            self.faults.insert(id, Offer { object, plugin });
        }
        self.plugins.push(plugin);
        Ok(())
    }

    /// A plugin of which one id is taken is refused as a whole: half a plugin is nobody's intention.
    fn refuse_duplicates(&self, loaded: &LoadedPlugin) -> Result<(), LoadError> {
        let mut own = BTreeSet::new();
        for object in &loaded.architectures {
            let ArchitectureInfo {
                id, model_types, ..
            } = object.info();
            free("architecture", id, self.architectures.get(id), &mut own)?;
            for model_type in model_types {
                let first = self.architecture_for(model_type);
                free("model_type", model_type, first, &mut own)?;
            }
        }
        for object in &loaded.references {
            let id = object.info().id;
            free("reference", &id, self.references.get(&id), &mut own)?;
        }
        for object in &loaded.benchmarks {
            let id = object.info().id;
            free("benchmark", &id, self.benchmarks.get(&id), &mut own)?;
        }
        let known = self.faults.values();
        let known: Vec<(FaultZooInfo, &Offer<ForeignFaultZoo>)> =
            known.map(|offer| (offer.object.info(), offer)).collect();
        for object in &loaded.faults {
            let FaultZooInfo { id, faults, .. } = object.info();
            free("faults", &id, self.faults.get(&id), &mut own)?;
            for fault in faults {
                let is_same =
                    |zoo: &&(FaultZooInfo, _)| zoo.0.faults.iter().any(|one| one.id == fault.id);
                let first = known.iter().find(is_same).map(|(_, offer)| *offer);
                free("fault", &fault.id, first, &mut own)?;
            }
        }
        Ok(())
    }
}

/// A plugin of which one id is none is refused as a whole, as below.
fn refuse_strange_ids(loaded: &LoadedPlugin) -> Result<(), LoadError> {
    let checked = |kind, id: &str| check_id(id).map_err(|error| LoadError::Id { kind, error });
    for object in &loaded.architectures {
        let ArchitectureInfo {
            id, model_types, ..
        } = object.info();
        checked("architecture", id)?;
        model_types
            .iter()
            .try_for_each(|model_type| checked("model_type", model_type))?;
    }
    for object in &loaded.references {
        let id = object.info().id;
        checked("reference", &id)?;
        if let ReferenceChoice::Tier(_) = ReferenceChoice::from(id.as_str()) {
            return Err(LoadError::Reserved { id });
        }
    }
    for object in &loaded.benchmarks {
        let BenchmarkInfo { id, module, .. } = object.info();
        checked("benchmark", &id)?;
        checked("module", &module)?;
    }
    for object in &loaded.faults {
        let FaultZooInfo { id, faults, .. } = object.info();
        checked("faults", &id)?;
        faults
            .iter()
            .try_for_each(|fault| checked("fault", &fault.id))?;
    }
    Ok(())
}

/// Nobody offered this `id` before: neither another plugin (`first`), nor the same one (`own`).
fn free<T>(
    kind: &'static str,
    id: &str,
    first: Option<&Offer<T>>,
    own: &mut BTreeSet<(&'static str, String)>,
) -> Result<(), LoadError> {
    if let Some(offer) = first {
        return Err(LoadError::Duplicate {
            kind,
            id: id.to_owned(),
            first: offer.plugin.path.clone(),
        });
    }
    if own.insert((kind, id.to_owned())) {
        Ok(())
    } else {
        Err(LoadError::Twice {
            kind,
            id: id.to_owned(),
        })
    }
}
