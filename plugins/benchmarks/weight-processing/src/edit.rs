//! The edit that upstream makes as well: no values in the first head.

use tlbench_sdk::{
    Action, Intervention, ModelInfo, PluginError, Quantity, Stimulus, Target, TraceRequest,
};

/// Zeroes `W_V` of the first head of the first attention.
pub(crate) struct Edit {
    pub(crate) weight: String,
}

impl Edit {
    pub(crate) fn of(model: &ModelInfo) -> Result<Self, PluginError> {
        let layers = &model.spec.layers;
        let first = layers.iter().position(|layer| layer.attn.is_some());
        let index =
            first.ok_or_else(|| PluginError::unsupported("the model has no attention to edit"))?;
        Ok(Self {
            weight: format!("blocks.{index}.attn.W_V"),
        })
    }

    /// `request` with the edit.
    pub(crate) fn made_in(&self, mut request: TraceRequest) -> TraceRequest {
        let target = Target::Weight(self.weight.clone());
        let zero = Intervention::new(target, Action::Zero).at_rows([0]);
        request.interventions = vec![zero];
        request
    }
}

/// The first plain input of two tokens or more, on which there is a loss.
pub(crate) fn input_with_loss(model: &ModelInfo) -> Result<&Stimulus, PluginError> {
    let has_loss = |stimulus: &&Stimulus| {
        let [_, pos] = stimulus.request.shape();
        pos > 1 && stimulus.request.is_plain() && stimulus.shows(&Quantity::LossPerToken)
    };
    let found = model.stimuli.iter().find(has_loss);
    found.ok_or_else(|| {
        PluginError::unsupported("the reference shows the loss of a next token on no input")
    })
}

/// The question of `stimulus`, to see `capture`.
pub(crate) fn asked(stimulus: &Stimulus, capture: Vec<Quantity>) -> TraceRequest {
    TraceRequest {
        capture,
        ..stimulus.request.clone()
    }
}
