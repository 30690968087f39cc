//! What a reader of the verdicts should know: what was not looked at, and why.

use tlbench_checkpoint::TOKENIZER_FILE;
use tlbench_sdk::{Processing, ProcessingStep, Stimulus, is_large};

use crate::config::{ModelEntry, Prompt, RunSettings};
use crate::model::Model;
use crate::unreached::unreached;

/// What the inputs of a run do not reach. `recorded` says that they are those of a recording.
pub(crate) fn notes(
    model: &Model,
    entry: &ModelEntry,
    run: &RunSettings,
    stimuli: &[Stimulus],
    recorded: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    match (&entry.prompt, recorded) {
        (prompt, true) if *prompt != Prompt::default() => notes.push(format!(
            "not used: the {} that was asked for (the recording answers for inputs of its own)",
            prompt.noun()
        )),
        (Prompt::Text(_), false) if !model.folder.path().join(TOKENIZER_FILE).exists() => {
            notes.push("no tokenizer: the bytes of the text serve as tokens (token ids can be given instead)".to_owned());
        }
        _ => {}
    }
    let longest = stimuli
        .iter()
        .map(|stimulus| stimulus.request.shape()[1])
        .max();
    if let (Some(longest), Some(n_ctx)) = (longest, model.spec.n_ctx)
        && longest < n_ctx
    {
        notes.push(format!(
            "not exercised: positions {longest} to {} (the longest input has {longest} of {n_ctx})",
            n_ctx - 1
        ));
    }
    // Mistakes that are put into the model show what the inputs do not.
    if run.sensitivity.is_none() {
        let inputs = stimuli.iter().map(|stimulus| &stimulus.request.inputs);
        let inputs: Vec<_> = inputs.collect();
        let unreached = unreached(&model.spec, &inputs).into_iter();
        notes.extend(unreached.map(|what| format!("not exercised, by rule: {what}")));
    }
    let shown = |name: &str| {
        let quantities = stimuli
            .iter()
            .flat_map(|stimulus| &stimulus.request.capture);
        quantities
            .into_iter()
            .any(|quantity| quantity.as_hook() == Some(name))
    };
    let unseen: Vec<&str> = model
        .hooks
        .iter()
        .filter(|hook| hook.gate.is_none() && !shown(&hook.name))
        .map(|hook| hook.name.as_str())
        .collect();
    if !unseen.is_empty() {
        notes.push(format!(
            "not compared, as the reference does not show them: {}",
            unseen.join(", ")
        ));
    }
    if entry.dtype.is_narrow() {
        notes.push(format!(
            "{0} is a question of precision: judged by the reference's own rounding in {0}, which hides faults that f32 shows",
            entry.dtype
        ));
    }
    if is_large(&model.parameters(&Processing::raw())) {
        notes.push(
            "sampled, as the weights take more than 64 MB: edits in three blocks and of a few tokens, steps of weight processing, scalars that are differentiated, tokens that are generated, and inputs that are asked about again or in pieces"
                .to_owned(),
        );
    }
    if run.compat {
        notes.extend(ProcessingStep::ALL.into_iter().filter_map(|step| {
            let reason = step.refusal(&model.spec)?;
            Some(format!("compatibility mode goes without {step}: {reason}"))
        }));
    }
    notes
}
