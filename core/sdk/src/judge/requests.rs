//! What benchmarks that compare ask, of which input, and what they were answered.

use crate::benchmark::{Check, ModelInfo, PlannedRequest};
use crate::error::PluginError;
use crate::hooks::layer_of;
use crate::reference::Stimulus;
use crate::tensor::Tensor;
use crate::trace::{Quantity, Trace, TraceRequest};

/// Those of `quantities` that the subject can be asked for: hooks that only the reference knows are not among them.
pub fn askable(model: &ModelInfo, quantities: &[Quantity]) -> Vec<Quantity> {
    let known = |quantity: &&Quantity| match quantity {
        Quantity::Hook(name) | Quantity::HookGradient(name) => {
            model.hooks.iter().any(|hook| hook.name == *name)
        }
        _ => true,
    };
    quantities.iter().filter(known).cloned().collect()
}

/// A check that asks reference and subject the question of `stimulus`, to see `capture`.
pub fn ask_both(stimulus: &Stimulus, capture: Vec<Quantity>) -> Check {
    let request = TraceRequest {
        capture,
        ..stimulus.request.clone()
    };
    Check {
        variant: stimulus.id.clone(),
        requests: vec![
            PlannedRequest::reference(request.clone()),
            PlannedRequest::subject(request),
        ],
    }
}

/// The plain input on which most of what `counts` is looked at; of several the first.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) if there is none.
pub fn richest(
    model: &ModelInfo,
    counts: impl Fn(&Quantity) -> bool,
) -> Result<&Stimulus, PluginError> {
    let plain = model.stimuli.iter().filter(|s| s.request.is_plain());
    let counted = |stimulus: &&Stimulus| {
        let capture = stimulus.request.capture.iter();
        capture.filter(|quantity| counts(quantity)).count()
    };
    // `max_by_key` gives the last of several.
    let richest = plain.rev().max_by_key(counted);
    richest.ok_or_else(|| PluginError::unsupported("there is no plain run among the inputs"))
}

/// Whether a hook is one of those that stand for all where not every block is looked at: outside of the blocks, or in the
/// first, a middle or the last one.
pub fn in_representative_block(model: &ModelInfo, hook: &str) -> bool {
    let last = model.spec.layers.len().saturating_sub(1);
    layer_of(hook).is_none_or(|layer| [0, last / 2, last].contains(&layer))
}

/// The checks, or that there is nothing to check: `needed` is shown on no input.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) if there is none.
pub fn applicable(checks: Vec<Check>, needed: &str) -> Result<Vec<Check>, PluginError> {
    if checks.is_empty() {
        let message = format!("the reference shows {needed} on no input");
        return Err(PluginError::unsupported(message));
    }
    Ok(checks)
}

/// The stimulus that `check` is about, whose id is its variant.
///
/// # Errors
/// If there is none.
pub fn stimulus<'a>(model: &'a ModelInfo, check: &Check) -> Result<&'a Stimulus, PluginError> {
    let found = model
        .stimuli
        .iter()
        .find(|stimulus| stimulus.id == check.variant);
    found.ok_or_else(|| {
        PluginError::internal(format!("a check of the unknown input `{}`", check.variant))
    })
}

/// The truth of `quantity`, which the reference was asked for.
///
/// # Errors
/// If it is not there.
pub fn truth_of<'a>(truth: &'a Trace, quantity: &Quantity) -> Result<&'a Tensor, PluginError> {
    truth
        .value(quantity)
        .ok_or_else(|| PluginError::internal(format!("the reference left out {quantity}")))
}

/// What the subject answers about `quantity`, which it was asked for.
///
/// # Errors
/// If it is not there.
pub fn answer_of<'a>(subject: &'a Trace, quantity: &Quantity) -> Result<&'a Tensor, PluginError> {
    subject
        .value(quantity)
        .ok_or_else(|| PluginError::internal(format!("the subject left out {quantity}")))
}

/// What a benchmark says to answers that are not as many as it planned requests.
pub fn wrong_count(answers: &[Trace]) -> PluginError {
    PluginError::internal(format!("{} answers to judge", answers.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reference::Padding;

    fn model(layers: usize, stimuli: Vec<Stimulus>) -> ModelInfo {
        let tokens = json!({ "names": ["wte"], "shape": [3, 2] });
        let layer = json!({ "wiring": "sequential", "module": null, "attn": null, "mlp": null });
        let spec = json!({
            "architecture": "Bare", "d_model": 2, "d_vocab": 3, "n_ctx": null,
            "embedding": { "tokens": tokens, "module": null },
            "layers": vec![layer; layers], "final_norm": null,
            "unembed": {
                "projection": { "weight": tokens, "bias": null, "tap": null }, "d_vocab_out": 3,
            },
        });
        let model = json!({
            "name": "bare", "subject": "bridge", "mode": "raw", "processing": [],
            "dtype": "f32", "spec": spec, "hooks": [], "parameters": [], "reference": "r",
            "tier": "hugging_face", "stimuli": [], "judging": "calibrated", "options": {},
        });
        let model: ModelInfo = serde_json::from_value(model).unwrap();
        ModelInfo { stimuli, ..model }
    }

    fn plain(id: &str, capture: &[Quantity]) -> Stimulus {
        let stimulus = Stimulus::from_rows(id, &[vec![1, 2]], Padding::Right, 0).unwrap();
        stimulus.showing(capture.to_vec())
    }

    #[test]
    fn the_first_of_several_that_show_the_most() {
        let hook = Quantity::hook("hook_embed");
        let two = [Quantity::Logits, Quantity::LossPerToken];
        let mut in_pieces = plain("in_pieces", &two);
        in_pieces.request.chunks = vec![1, 1];
        let stimuli = vec![
            in_pieces,
            plain("hook", &[hook]),
            plain("a", &two),
            plain("b", &two),
        ];
        let model = model(0, stimuli);
        assert_eq!(richest(&model, |_| true).unwrap().id, "a");
        let by_hooks = richest(&model, |quantity| quantity.as_hook().is_some());
        assert_eq!(by_hooks.unwrap().id, "hook");
    }

    #[test]
    fn without_a_plain_run_none_is_the_richest() {
        let error = richest(&model(0, Vec::new()), |_| true).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Unsupported);
        assert_eq!(error.message, "there is no plain run among the inputs");
    }

    #[test]
    fn the_first_a_middle_and_the_last_block_stand_for_all() {
        let blocks = |layers: usize| -> Vec<usize> {
            let model = model(layers, Vec::new());
            let stands = |block: &usize| {
                in_representative_block(&model, &format!("blocks.{block}.hook_resid_pre"))
            };
            (0..layers).filter(stands).collect()
        };
        assert_eq!(blocks(1), [0]);
        assert_eq!(blocks(2), [0, 1]);
        assert_eq!(blocks(12), [0, 5, 11]);
        assert!(in_representative_block(
            &model(12, Vec::new()),
            "ln_final.hook_scale"
        ));
    }
}
