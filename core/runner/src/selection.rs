//! Which benchmarks run, and with which options.

use globset::{Glob, GlobMatcher};
use tlbench_sdk::{Benchmark, BenchmarkInfo};

use crate::config::{BenchmarkEntry, Config};
use crate::plugins::Registry;
use crate::session::ChosenBenchmark;

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// No benchmark of that name.
    #[error(
        "benchmark `{name}`: expected the name, the module or a glob of one of {known}, found none that matches"
    )]
    UnknownBenchmark {
        /// As it was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A glob that is none.
    #[error("benchmark `{name}`: {reason}")]
    BadGlob {
        /// As it was asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the name of an entry means.
enum Selector {
    /// One benchmark. A name that is an id means nothing else, also where a module is called the same.
    Id(String),
    /// Every benchmark whose id, module or `module/id` matches.
    Glob(GlobMatcher),
}

impl Selector {
    fn new(name: &str, registry: &Registry) -> Result<Self, SelectionError> {
        if registry.benchmarks.contains_key(name) {
            return Ok(Self::Id(name.to_owned()));
        }
        let glob = Glob::new(name).map_err(|error| SelectionError::BadGlob {
            name: name.to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    fn matches(&self, info: &BenchmarkInfo) -> bool {
        let BenchmarkInfo { id, module, .. } = info;
        match self {
            Self::Id(wanted) => id == wanted,
            Self::Glob(glob) => {
                glob.is_match(id)
                    || glob.is_match(module)
                    || glob.is_match(format!("{module}/{id}"))
            }
        }
    }
}

/// The benchmarks that some entry selects, in the order of the entries, those of one entry by module and name; each with the options of all entries that match.
pub(crate) fn choose<'a>(
    config: &Config,
    registry: &'a Registry,
) -> Result<Vec<ChosenBenchmark<'a>>, SelectionError> {
    let entries = config
        .benchmarks
        .iter()
        .map(|entry| Ok((entry, Selector::new(&entry.name, registry)?)))
        .collect::<Result<Vec<(&BenchmarkEntry, Selector)>, SelectionError>>()?;
    for (entry, selector) in &entries {
        refuse_unmatched(entry, selector, registry)?;
    }
    let mut chosen: Vec<_> = registry
        .benchmarks
        .values()
        .filter_map(|offer| {
            let info = offer.object.info();
            let matching = || {
                entries
                    .iter()
                    .filter(|(_, selector)| selector.matches(&info))
            };
            let options = matching().flat_map(|(entry, _)| entry.options_as_json());
            let chosen = ChosenBenchmark {
                benchmark: &offer.object,
                options: options.collect(),
            };
            let is_first = |(entry, selector): &(&BenchmarkEntry, Selector)| {
                entry.selects && selector.matches(&info)
            };
            let place = entries.iter().position(is_first)?;
            Some(((place, info.module.clone(), info.id.clone()), chosen))
        })
        .collect();
    chosen.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(chosen.into_iter().map(|(_, chosen)| chosen).collect())
}

/// An entry that selects nothing is a mistake, but for `*`: everything that there is may be nothing.
fn refuse_unmatched(
    entry: &BenchmarkEntry,
    selector: &Selector,
    registry: &Registry,
) -> Result<(), SelectionError> {
    let infos = || {
        registry
            .benchmarks
            .values()
            .map(|offer| offer.object.info())
    };
    if entry.name == "*" || infos().any(|info| selector.matches(&info)) {
        return Ok(());
    }
    let known: Vec<String> = infos().map(|info| info.id).collect();
    let known = if known.is_empty() {
        "none (no plugin offers any)".to_owned()
    } else {
        known.join(", ")
    };
    Err(SelectionError::UnknownBenchmark {
        name: entry.name.clone(),
        known,
    })
}
