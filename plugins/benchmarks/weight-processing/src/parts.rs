//! Weights of a large model are looked at a few at a time, as all of them take as much memory as the model.

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::judge::in_parts;
use tlbench_sdk::spec::CanonicalWeight;
use tlbench_sdk::{Check, ModelInfo, PlannedRequest, PluginError, Processing, Quantity};

use crate::formulas::Formula;
use crate::questions::weights;

/// Elements that are held at once.
const PART: usize = 16 << 20;

/// The check of `formulas`, or several if their weights are too many to hold.
pub(crate) fn checks(
    model: &ModelInfo,
    variant: &str,
    formulas: Vec<Formula>,
    requests: impl Fn(&[Formula]) -> Result<Vec<PlannedRequest>, PluginError>,
) -> Result<Vec<Check>, PluginError> {
    let sizes = sizes(model);
    let size = |formula: &Formula| sizes.get(&formula.name).copied().unwrap_or(0);
    let elements = |formulas: &Vec<Formula>| formulas.iter().map(size).sum();
    let check = |(variant, part): (String, Vec<Vec<Formula>>)| {
        Ok(Check {
            variant,
            requests: requests(&part.concat())?,
        })
    };
    let parts = in_parts(variant, with_their_map(formulas), PART, elements);
    parts.into_iter().map(check).collect()
}

/// The elements of each raw weight: no step makes one larger, and what folding makes is a bias.
fn sizes(model: &ModelInfo) -> BTreeMap<String, usize> {
    let size = |CanonicalWeight { name, source }: CanonicalWeight| {
        let shape = source.cut_shape().unwrap_or_default();
        (name, shape.iter().product())
    };
    model.spec.weights().into_iter().map(size).collect()
}

/// Each formula with what follows it and goes through its weight: a bias beside the map that it came through.
fn with_their_map(formulas: Vec<Formula>) -> Vec<Vec<Formula>> {
    let mut groups: Vec<Vec<Formula>> = Vec::new();
    for formula in formulas {
        match groups.last_mut() {
            Some(group) if formula.expected.goes_through(&group[0].name) => group.push(formula),
            _ => groups.push(vec![formula]),
        }
    }
    groups
}

/// Asks for the raw weights that `formulas` are made of, and for what came of them.
pub(crate) fn raw_and_processed(
    model: &ModelInfo,
    processing: &Processing,
    formulas: &[Formula],
) -> Result<Vec<PlannedRequest>, PluginError> {
    let mut sources = BTreeSet::new();
    for formula in formulas {
        formula.expected.names(&mut sources);
    }
    Ok(vec![
        weights(model, Processing::raw(), sources)?,
        weights(model, processing.clone(), names(formulas))?,
    ])
}

/// What `formulas` are about.
pub(crate) fn names(formulas: &[Formula]) -> impl Iterator<Item = String> {
    formulas.iter().map(|formula| formula.name.clone())
}

/// Those of `formulas` whose weights `planned` asks for.
pub(crate) fn asked(formulas: Vec<Formula>, planned: &PlannedRequest) -> Vec<Formula> {
    let capture: BTreeSet<&Quantity> = planned.request.capture.iter().collect();
    let is_asked = |formula: &Formula| capture.contains(&Quantity::Weight(formula.name.clone()));
    formulas.into_iter().filter(is_asked).collect()
}
