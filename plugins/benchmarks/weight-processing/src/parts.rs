//! Weights of a large model are looked at a few at a time, as all of them take as much memory as the model.

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::judge::in_parts;
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
    let parameters = model.parameters.iter();
    let sizes: BTreeMap<&str, usize> = parameters
        .map(|parameter| (parameter.name.as_str(), parameter.elements()))
        .collect();
    let elements = |formula: &Formula| sizes.get(formula.name.as_str()).copied().unwrap_or(0);
    let check = |(variant, part): (String, Vec<Formula>)| {
        Ok(Check {
            variant,
            requests: requests(&part)?,
        })
    };
    let parts = in_parts(variant, formulas, PART, elements).into_iter();
    parts.map(check).collect()
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
