//! A reference that knows the weights as they are stored, asked about processed ones.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tlbench_checkpoint::Weights;
use tlbench_sdk::mapped::{Mapping, ValueBiases};
use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{
    Intervention, ModelSpec, PluginError, Processing, ProcessingStep, Quantity, SourceInfo,
    Stimulus, Target, Tensor, Trace, TraceRequest, TraceSource,
};

/// Maps the answers about the raw weights to what processed ones have to give.
pub(crate) struct ProcessedReference<'a> {
    raw: &'a dyn TraceSource,
    /// The questions about the raw weights.
    stimuli: &'a [Stimulus],
    spec: &'a ModelSpec,
    weights: &'a Weights,
    /// With the biases of the norms folded in, and without.
    biases: Mutex<[Option<ValueBiases>; 2]>,
}

impl<'a> ProcessedReference<'a> {
    pub(crate) fn new(
        raw: &'a dyn TraceSource,
        stimuli: &'a [Stimulus],
        spec: &'a ModelSpec,
        weights: &'a Weights,
    ) -> Self {
        Self {
            raw,
            stimuli,
            spec,
            weights,
            biases: Mutex::default(),
        }
    }

    /// What of the questions can be asked about weights processed so: an edit that would mean another thing is left out, and
    /// its row of the batch stays as it is.
    pub(crate) fn stimuli(&self, processing: &Processing) -> Vec<Stimulus> {
        let mapped = self.stimuli.iter().map(|stimulus| {
            let mut mapped = stimulus.clone();
            let request = &mut mapped.request;
            request.processing = processing.clone();
            let shows = |needed: &Quantity| stimulus.shows(needed);
            request.capture.retain(|quantity| {
                let mapping = Mapping::new(self.spec, processing, quantity);
                mapping.is_some_and(|mapping| mapping.needs().iter().all(shows))
            });
            let is_edit = !request.interventions.is_empty();
            request
                .interventions
                .retain(|edit| self.is_unchanged(processing, &edit.target));
            let still_asks = !is_edit || !request.interventions.is_empty();
            (still_asks && !request.capture.is_empty()).then_some(mapped)
        });
        mapped.flatten().collect()
    }

    /// Whether an edit there means the same whether the weights are processed or not: the value is the same, and so is what
    /// a change of it does.
    fn is_unchanged(&self, processing: &Processing, target: &Target) -> bool {
        let name = match target {
            Target::Hook(name) | Target::HookGradient(name) => name,
            Target::Weight(_) => return false,
        };
        let quantities = [Quantity::hook(name), Quantity::HookGradient(name.clone())];
        quantities.iter().all(|quantity| {
            Mapping::new(self.spec, processing, quantity)
                .is_some_and(|mapping| mapping.is_identity(quantity))
        })
    }

    fn refuse_changed_edits(&self, request: &TraceRequest) -> Result<(), PluginError> {
        let mut targets = request.interventions.iter().map(|edit| &edit.target);
        match targets.find(|target| !self.is_unchanged(&request.processing, target)) {
            None => Ok(()),
            Some(target) => Err(PluginError::unsupported(format!(
                "the reference does not process weights, and an edit of {target:?} means another thing where they are"
            ))),
        }
    }

    /// The raw question that knows the answer: where edits were left out, the one with all of them, as each is of a row of
    /// its own.
    fn raw_interventions(&self, request: &TraceRequest) -> Vec<Intervention> {
        let is_whole = |stimulus: &&Stimulus| {
            let whole = &stimulus.request;
            let holds = |edit: &Intervention| whole.interventions.contains(edit);
            whole.inputs == request.inputs
                && whole.interventions.iter().all(is_of_one_row)
                && request.interventions.iter().all(holds)
        };
        let edits = &request.interventions;
        let whole = self
            .stimuli
            .iter()
            .find(|stimulus| !edits.is_empty() && is_whole(stimulus));
        whole.map_or_else(
            || edits.clone(),
            |whole| whole.request.interventions.clone(),
        )
    }

    fn biases(&self, processing: &Processing) -> Result<ValueBiases, PluginError> {
        if !processing.has(ProcessingStep::FoldValueBiases) {
            return Ok(ValueBiases::new());
        }
        let folded = processing.has(ProcessingStep::FoldLn);
        let mut known = self
            .biases
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let slot = &mut known[usize::from(folded)];
        if let Some(biases) = slot {
            return Ok(biases.clone());
        }
        let biases = value_biases(self.spec, self.weights, folded)?;
        Ok(slot.insert(biases).clone())
    }
}

impl TraceSource for ProcessedReference<'_> {
    fn info(&self) -> SourceInfo {
        self.raw.info()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let processing = &request.processing;
        if processing.is_raw() {
            return self.raw.trace(request);
        }
        self.refuse_changed_edits(request)?;
        let mappings = request.capture.iter().map(|quantity| {
            let mapping = Mapping::new(self.spec, processing, quantity);
            let mapping = mapping.ok_or_else(|| {
                PluginError::unsupported(format!(
                    "the reference does not process weights, and {quantity} does not follow from the raw ones"
                ))
            })?;
            Ok((quantity, mapping))
        });
        let mappings = mappings.collect::<Result<Vec<_>, PluginError>>()?;
        let needs: BTreeSet<Quantity> = mappings
            .iter()
            .flat_map(|(_, mapping)| mapping.needs())
            .collect();
        let raw_request = TraceRequest {
            processing: Processing::raw(),
            capture: needs.into_iter().collect(),
            interventions: self.raw_interventions(request),
            ..request.clone()
        };
        let raw = self.raw.trace(&raw_request)?;
        let biases = self.biases(processing)?;
        let mut trace = Trace::default();
        for (quantity, mapping) in mappings {
            let value = mapping.apply(&raw, &biases).ok_or_else(|| {
                PluginError::internal(format!(
                    "{quantity} of the reference has another shape than the spec says"
                ))
            })?;
            trace.values.insert(quantity.clone(), value);
            let floor = raw.floor(mapping.source());
            trace
                .floors
                .extend(floor.map(|floor| (quantity.clone(), floor)));
        }
        // What follows from what was asked has a floor as well.
        for derived in [Quantity::LogProbs, Quantity::LossPerToken] {
            let floor = raw.floor(&derived);
            trace.floors.extend(floor.map(|floor| (derived, floor)));
        }
        Ok(trace)
    }
}

fn is_of_one_row(edit: &Intervention) -> bool {
    edit.rows.as_ref().is_some_and(|rows| rows.len() == 1)
}

/// The bias of the values of each layer, `[n_kv_heads, d_head]`, as it is when it moves into the output's: with what
/// folding the norm added to it, if that comes first.
fn value_biases(
    spec: &ModelSpec,
    weights: &Weights,
    folded: bool,
) -> Result<ValueBiases, PluginError> {
    let mut biases = ValueBiases::new();
    for (layer, layer_spec) in spec.layers.iter().enumerate() {
        let Some(branch) = &layer_spec.attn else {
            continue;
        };
        let attention = &branch.body;
        let mut bias = match &attention.v.bias {
            Some(bias) => part(weights, bias)?.to_f64_vec(),
            None => vec![0.0; attention.n_kv_heads * attention.d_head],
        };
        let norm_bias = branch.input_norm().and_then(|norm| norm.bias.as_ref());
        if let Some(norm_bias) = norm_bias.filter(|_| folded) {
            let weight = part(weights, &attention.v.weight)?.to_f64_vec();
            let norm_bias = part(weights, norm_bias)?.to_f64_vec();
            for (bias, row) in bias.iter_mut().zip(weight.chunks(norm_bias.len().max(1))) {
                *bias += row.iter().zip(&norm_bias).map(|(w, b)| w * b).sum::<f64>();
            }
        }
        let shape = [attention.n_kv_heads, attention.d_head];
        biases.insert(layer, Tensor::from_vec(bias, &shape)?);
    }
    Ok(biases)
}

fn part(weights: &Weights, source: &TensorSource) -> Result<Tensor, PluginError> {
    let read = |error: tlbench_checkpoint::CheckpointError| PluginError::io(error.to_string());
    let name = weights.resolve(source).map_err(read)?;
    let whole = weights.read(name).map_err(read)?;
    source
        .cut
        .iter()
        .try_fold(whole, |tensor, cut| cut.apply(&tensor))
        .map_err(|error| PluginError::internal(error.to_string()))
}
