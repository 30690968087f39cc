//! A tensor that is embedding and unembedding at once: an edit of it has to arrive at both places.

use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{
    Action, Check, INPUT_IDS, Intervention, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Stimulus, Target, Tensor, Trace, TraceRequest, Verdict,
};

use crate::edit::asked;

const EMBEDDED: &str = "hook_embed";

/// The stored tensor of both.
pub(crate) struct Tied {
    tensor: String,
}

impl Tied {
    /// `None` where there are two tensors, or where a row of the tensor is not a token.
    pub(crate) fn of(model: &ModelInfo) -> Option<Self> {
        let stored = |source: &TensorSource| {
            let is_stored = |name: &&String| model.parameters.iter().any(|p| p.name == **name);
            source.names.iter().find(is_stored).cloned()
        };
        let (tokens, head) = (
            &model.spec.embedding.tokens,
            &model.spec.unembed.projection.weight,
        );
        let tensor = stored(tokens)?;
        let by_row = tokens.cut.is_empty() && head.cut.is_empty();
        (by_row && stored(head)? == tensor).then_some(Self { tensor })
    }

    /// Asks for what the input's first token is embedded as, and for its logit, with and without its row.
    pub(crate) fn check(&self, variant: &str, stimulus: &Stimulus) -> Check {
        let plain = asked(stimulus, vec![Quantity::hook(EMBEDDED), Quantity::Logits]);
        let target = Target::Weight(self.tensor.clone());
        let zero = Intervention::new(target, Action::Zero);
        let row = first_token(&plain).and_then(|token| usize::try_from(token).ok());
        let edited = TraceRequest {
            interventions: vec![zero.at_rows([row.unwrap_or(0)])],
            ..plain.clone()
        };
        Check {
            variant: variant.to_owned(),
            requests: vec![
                PlannedRequest::subject(plain),
                PlannedRequest::subject(edited),
            ],
        }
    }

    pub(crate) fn verdict(&self, check: &Check, answers: &[Trace]) -> Result<Verdict, PluginError> {
        let (Some(planned), [plain, edited]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let token = first_token(&planned.request);
        let token = token.ok_or_else(|| PluginError::internal("an input without tokens"))?;
        let hook = Quantity::hook(EMBEDDED);
        let embedding_changes = match (plain.value(&hook), edited.value(&hook)) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        // Without its column the logit is the same everywhere: the bias, if there is one.
        let head_changes = match (
            plain.value(&Quantity::Logits),
            edited.value(&Quantity::Logits),
        ) {
            (Some(before), Some(after)) => !is_flat(before, token) && is_flat(after, token),
            _ => false,
        };
        let what = format!("row {token} of {} set to 0", self.tensor);
        let misses = |place: &str| {
            Verdict::new(
                Severity::Danger,
                format!("{what}: it does not arrive at the {place}"),
            )
        };
        Ok(match (embedding_changes, head_changes) {
            (true, true) => Verdict::new(
                Severity::Info,
                format!("{what} changes embedding and unembedding, which share it"),
            ),
            (false, true) => misses("embedding"),
            (true, false) => misses("unembedding"),
            (false, false) => misses("embedding, nor at the unembedding"),
        })
    }
}

fn first_token(request: &TraceRequest) -> Option<i64> {
    request
        .inputs
        .get(INPUT_IDS)?
        .as_slice::<i64>()?
        .first()
        .copied()
}

/// Whether the logit of `token` is the same at every position.
fn is_flat(logits: &Tensor, token: i64) -> bool {
    let width = logits.shape().last().copied().unwrap_or(0).max(1);
    let values = logits.to_f64_vec();
    let column: Vec<f64> = usize::try_from(token)
        .map(|token| {
            values
                .chunks(width)
                .filter_map(|row| row.get(token).copied())
                .collect()
        })
        .unwrap_or_default();
    !column.is_empty() && column.iter().all(|value| *value == column[0])
}
