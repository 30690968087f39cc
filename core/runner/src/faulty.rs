//! The bridge with a mistake: a right implementation that runs another spec, deviates, or misunderstands what it is asked.

mod questions;
mod weights;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tlbench_checkpoint::Weights;
use tlbench_engine::{Bridge, EngineError, KvCache};
use tlbench_sdk::host::ForeignFaultZoo;
use tlbench_sdk::{
    DType, Fault, FaultEdit, FaultZoo as _, ModelSpec, PluginError, Processing, QuestionEdit, Runs,
    SourceInfo, TensorMap, Trace, TraceRequest, TraceSource, WeightEdit,
};

/// The mistakes of `zoos` that `is_chosen`, each with its edits of a model of `spec`. Those that it has no place for are left
/// out.
pub(crate) fn mistakes<'z>(
    zoos: impl IntoIterator<Item = &'z ForeignFaultZoo>,
    spec: &ModelSpec,
    is_chosen: impl Fn(&Fault) -> bool,
) -> impl Iterator<Item = (Fault, Result<Vec<FaultEdit>, PluginError>)> {
    let offered = zoos.into_iter().flat_map(|zoo| {
        let faults = zoo.info().faults.into_iter();
        faults.map(move |fault| (zoo, fault))
    });
    let chosen = offered.filter(move |(_, fault)| is_chosen(fault));
    let made = chosen.map(|(zoo, fault)| {
        let edits = zoo.edits(&fault.id, spec);
        (fault, edits)
    });
    made.filter(|(_, edits)| !matches!(edits, Ok(edits) if edits.is_empty()))
}

/// The bridge, with what is wrong.
pub(crate) struct FaultyBridge {
    bridge: Bridge,
    /// What runs on another spec instead, and when.
    edited: Vec<(Runs, Bridge)>,
    questions: Vec<QuestionEdit>,
    weights: Vec<WeightEdit>,
    /// Wrong weights that were made already.
    wrong: Mutex<BTreeMap<Processing, TensorMap>>,
    /// For a cache that is kept between runs.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    cache: KvCache,
    rows: usize,
}

impl FaultyBridge {
    /// The right `bridge`, of `spec` and `weights`, with `edits` made in it.
    ///
    /// # Errors
    /// If the engine cannot run what an edit says.
    pub(crate) fn new(
        bridge: &Bridge,
        weights: &Weights,
        edits: &[FaultEdit],
    ) -> Result<Self, EngineError> {
        let mut faulty = Self {
            bridge: bridge.clone(),
            edited: Vec::new(),
            questions: Vec::new(),
            weights: Vec::new(),
            wrong: Mutex::default(),
            kept: Mutex::default(),
        };
        for edit in edits {
            match edit {
                FaultEdit::Spec { runs, spec } => {
                    let edited = Bridge::open(spec, weights, bridge.dtype())?;
                    faulty.edited.push((*runs, edited));
                }
                FaultEdit::Engine(deviation) => {
                    faulty.bridge = faulty.bridge.with_deviation(*deviation);
                }
                FaultEdit::Question(edit) => faulty.questions.push(edit.clone()),
                FaultEdit::Weights(edit) => faulty.weights.push(edit.clone()),
            }
        }
        Ok(faulty)
    }

    /// The same in another precision.
    pub(crate) fn open(
        spec: &ModelSpec,
        weights: &Weights,
        dtype: DType,
        edits: &[FaultEdit],
    ) -> Result<Self, EngineError> {
        Self::new(&Bridge::open(spec, weights, dtype)?, weights, edits)
    }

    fn run(&self, request: &TraceRequest) -> Result<Trace, EngineError> {
        let edited = self.edited.iter().find(|(runs, _)| has(*runs, request));
        let bridge = edited.map_or(&self.bridge, |(_, bridge)| bridge);
        if request.chunks.is_empty() || !self.questions.contains(&QuestionEdit::CacheKept) {
            return bridge.run(request);
        }
        let mut kept = self.kept();
        let [rows, _] = request.shape();
        if rows != kept.rows {
            *kept = Kept {
                cache: KvCache::new(),
                rows,
            };
        }
        bridge.run_with_past_kv_cache(request, &mut kept.cache)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `request` is one of `runs`.
pub(crate) fn has(runs: Runs, request: &TraceRequest) -> bool {
    match runs {
        Runs::All => true,
        Runs::Processed => !request.processing.is_raw(),
        Runs::Cached => {
            let generates = request.generate.as_ref();
            !request.chunks.is_empty() || generates.is_some_and(|generate| generate.use_cache)
        }
    }
}

impl TraceSource for FaultyBridge {
    fn info(&self) -> SourceInfo {
        self.bridge.info()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let mut asked = request.clone();
        for edit in &self.questions {
            questions::misunderstand(edit, &mut asked);
        }
        self.put_wrong_weights(&mut asked)?;
        Ok(self.run(&asked)?)
    }
}
