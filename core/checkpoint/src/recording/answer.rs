//! From a question to the recorded answer.

use tlbench_sdk::{DType, PluginError, Quantity, Trace, TraceRequest};

use super::{RecordedAnswer, Recording};

/// Names that a message lists before it says how many more there are.
const LISTED: usize = 8;

impl Recording {
    /// The recorded answer to `request`: the values that it captures, and every floor that is known of `precision`.
    ///
    /// # Errors
    /// [`Unsupported`](tlbench_sdk::ErrorKind::Unsupported), with what is held, if the recording has no such answer, or
    /// knows no rounding error of `precision` in it.
    pub fn answer(&self, request: &TraceRequest, precision: DType) -> Result<Trace, PluginError> {
        let on_these_inputs: Vec<&RecordedAnswer> = self
            .answers
            .iter()
            .filter(|answer| answer.stimulus.request.inputs == request.inputs)
            .collect();
        if on_these_inputs.is_empty() {
            let held = self.answers.iter().map(|answer| {
                let [batch, pos] = answer.stimulus.request.shape();
                format!("`{}` [{batch}, {pos}]", answer.stimulus.id)
            });
            return Err(PluginError::unsupported(format!(
                "these inputs are not recorded; held: {}",
                listed(held)
            )));
        }
        let Some(answer) = on_these_inputs
            .iter()
            .find(|answer| asks_the_same(&answer.stimulus.request, request))
        else {
            let id = &on_these_inputs[0].stimulus.id;
            let held = on_these_inputs
                .iter()
                .map(|answer| kind(&answer.stimulus.request));
            return Err(PluginError::unsupported(format!(
                "input `{id}` is recorded, but not {}; held: {}",
                kind(request),
                listed(held)
            )));
        };
        let Some(floors) = answer.floors.get(&precision) else {
            let (id, held) = (&answer.stimulus.id, answer.floors.keys());
            return Err(PluginError::unsupported(format!(
                "`{id}` is recorded without the rounding errors of {precision}; held: {}",
                listed(held.map(ToString::to_string))
            )));
        };
        let values = request
            .capture
            .iter()
            .map(|quantity| Ok((quantity.clone(), value(answer, quantity)?.clone())));
        Ok(Trace {
            values: values.collect::<Result<_, PluginError>>()?,
            floors: floors.clone(),
        })
    }
}

fn value<'a>(
    answer: &'a RecordedAnswer,
    quantity: &Quantity,
) -> Result<&'a tlbench_sdk::Tensor, PluginError> {
    answer.values.get(quantity).ok_or_else(|| {
        let held = listed(answer.values.keys().map(|held| format!("`{held}`")));
        let id = &answer.stimulus.id;
        PluginError::unsupported(format!(
            "`{quantity}` is not recorded on input `{id}`; held: {held}"
        ))
    })
}

/// Whether two requests differ in nothing but what they capture.
pub(super) fn asks_the_same(recorded: &TraceRequest, request: &TraceRequest) -> bool {
    let with_the_same_capture = TraceRequest {
        capture: recorded.capture.clone(),
        ..request.clone()
    };
    *recorded == with_the_same_capture
}

/// What sets a request apart from the plain one, in words.
fn kind(request: &TraceRequest) -> String {
    let plain = TraceRequest::default();
    let mut parts = Vec::new();
    if !request.processing.is_raw() {
        parts.push(format!(
            "with the weights processed ({})",
            request.processing
        ));
    }
    if !request.chunks.is_empty() {
        parts.push(format!("in chunks of {:?}", request.chunks));
    }
    if request.evaluation != plain.evaluation {
        parts.push("with the truth put in at each hook".to_owned());
    }
    if request.gradients.is_some() {
        parts.push("with these gradients".to_owned());
    }
    if !request.interventions.is_empty() {
        parts.push("with these interventions".to_owned());
    }
    if request.generate.is_some() {
        parts.push("with this generation".to_owned());
    }
    if parts.is_empty() {
        "run as it is".to_owned()
    } else {
        parts.join(" and ")
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    let more = distinct.len().saturating_sub(LISTED);
    distinct.truncate(LISTED);
    match (distinct.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => distinct.join(", "),
        (false, _) => format!("{} and {more} more", distinct.join(", ")),
    }
}
