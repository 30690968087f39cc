//! Benchmarks that panic.

use std::panic::panic_any;

use tlbench_sdk::{Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Trace};

/// Panics when it plans.
pub(crate) struct Planning;

impl Benchmark for Planning {
    fn info(&self) -> BenchmarkInfo {
        info("panics_in_plan")
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        panic!("no plan for {}", model.name)
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Err(PluginError::internal("there is nothing to judge"))
    }
}

/// Panics when it judges, and again when it is dropped.
pub(crate) struct Judging;

impl Benchmark for Judging {
    fn info(&self) -> BenchmarkInfo {
        info("panics_in_judge")
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Ok(checks(&["first", "second", "third"]))
    }

    fn judge(&self, _: &ModelInfo, check: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        panic!("no judgement of {}", check.variant)
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        panic!("not to be dropped")
    }
}

/// Panics with something that panics when it is dropped.
pub(crate) struct Bombing;

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb went off")
    }
}

impl Benchmark for Bombing {
    fn info(&self) -> BenchmarkInfo {
        info("panics_with_a_bomb")
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Ok(checks(&["only"]))
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        panic_any(Bomb)
    }
}

fn info(id: &str) -> BenchmarkInfo {
    BenchmarkInfo::new(id, "panics", "nothing")
}

/// Checks that need no answers.
fn checks(variants: &[&str]) -> Vec<Check> {
    let check = |variant: &&str| Check {
        variant: (*variant).to_owned(),
        requests: Vec::new(),
    };
    variants.iter().map(check).collect()
}
