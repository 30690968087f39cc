//! Structured data as messages: JSON text, with tensors beside it by name.

use std::collections::BTreeMap;

use abi_stable::std_types::{RString, RVec, Tuple2};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PluginDescription;
use super::objects::FfiMessage;
use super::tensor::FfiTensor;
use crate::adapter::{Adapted, ArchitectureInfo};
use crate::benchmark::{BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest};
use crate::compare::Floor;
use crate::error::PluginError;
use crate::fault::{FaultEdit, FaultZooInfo, Repair, Symptom};
use crate::reference::{OpenRequest, ReferenceInfo, SourceInfo, Stimulus};
use crate::spec::ModelSpec;
use crate::tensor::TensorMap;
use crate::trace::{Quantity, Trace, TraceRequest};

/// Something that is sent across the boundary.
pub(super) trait Outgoing {
    /// What is text of it. It is written as it is read, without a tree of values in between: most of what crosses is text.
    fn json(&self) -> impl Serialize;

    /// What is beside the text.
    fn tensors(&self) -> TensorMap;
}

/// Something that arrives.
pub(super) trait Incoming: Sized {
    type Json: DeserializeOwned;

    fn from_message(json: Self::Json, tensors: TensorMap) -> Result<Self, PluginError>;
}

/// The text of a message.
pub(super) fn text<M: Outgoing + ?Sized>(message: &M) -> Result<String, PluginError> {
    Ok(serde_json::to_string(&message.json())?)
}

pub(super) fn encode<M: Outgoing + ?Sized>(message: &M) -> Result<FfiMessage, PluginError> {
    let tensors = message.tensors();
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Tuple2(RString::from(name.as_str()), FfiTensor::export(tensor)));
    Ok(FfiMessage {
        json: RString::from(text(message)?),
        tensors: tensors.collect::<RVec<_>>(),
    })
}

pub(super) fn decode<M: Incoming>(message: FfiMessage) -> Result<M, PluginError> {
    let tensors = message
        .tensors
        .into_iter()
        .map(|Tuple2(name, tensor)| Ok((name.into_string(), tensor.import()?)))
        .collect::<Result<TensorMap, PluginError>>()?;
    let json = serde_json::from_str(message.json.as_str()).map_err(|error| misread(&error))?;
    M::from_message(json, tensors)
}

fn misread(error: &serde_json::Error) -> PluginError {
    PluginError::invalid_input(format!(
        "a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: {error}"
    ))
}

/// What has no tensors is its JSON.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        impl Outgoing for $type {
            fn json(&self) -> impl Serialize {
                self
            }

            fn tensors(&self) -> TensorMap {
                TensorMap::new()
            }
        }

        impl Incoming for $type {
            type Json = Self;

            fn from_message(json: Self, _: TensorMap) -> Result<Self, PluginError> {
                Ok(json)
            }
        }
    )*};
}

plain!(
    Adapted,
    ArchitectureInfo,
    BenchmarkInfo,
    FaultEdit,
    FaultOf,
    FaultZooInfo,
    PluginDescription,
    ReferenceInfo,
    Repair,
    Symptom,
    serde_json::Map<String, Value>
);

/// What has its tensors in a list of it has them under `INDEX/NAME`.
macro_rules! with_tensors_in {
    ($($type:ty: $list:ident, $tensors:path, $put_back:path);* $(;)?) => {$(
        impl Outgoing for $type {
            fn json(&self) -> impl Serialize {
                self
            }

            fn tensors(&self) -> TensorMap {
                gather(&self.$list, $tensors)
            }
        }

        impl Incoming for $type {
            type Json = Self;

            fn from_message(mut json: Self, mut tensors: TensorMap) -> Result<Self, PluginError> {
                $put_back(&mut json.$list, &mut tensors);
                Ok(json)
            }
        }
    )*};
}

with_tensors_in!(
    ModelInfo: stimuli, stimulus_tensors, put_back_in_stimuli;
    OpenRequest: stimuli, stimulus_tensors, put_back_in_stimuli;
    SourceInfo: stimuli, stimulus_tensors, put_back_in_stimuli;
    Check: requests, request_tensors, put_back;
);

impl Outgoing for TraceRequest {
    fn json(&self) -> impl Serialize {
        self
    }

    fn tensors(&self) -> TensorMap {
        self.tensors()
    }
}

impl Incoming for TraceRequest {
    type Json = Self;

    fn from_message(mut json: Self, tensors: TensorMap) -> Result<Self, PluginError> {
        json.set_tensors(tensors);
        Ok(json)
    }
}

impl Outgoing for Trace {
    fn json(&self) -> impl Serialize {
        &self.floors
    }

    fn tensors(&self) -> TensorMap {
        let values = self.values.iter();
        values
            .map(|(quantity, tensor)| (quantity.to_string(), tensor.clone()))
            .collect()
    }
}

impl Incoming for Trace {
    type Json = BTreeMap<Quantity, Floor>;

    fn from_message(floors: Self::Json, tensors: TensorMap) -> Result<Self, PluginError> {
        let values = tensors
            .into_iter()
            .map(|(name, tensor)| {
                let quantity: Quantity = name
                    .parse()
                    .map_err(|error| PluginError::invalid_input(format!("{error}")))?;
                Ok((quantity, tensor))
            })
            .collect::<Result<_, PluginError>>()?;
        Ok(Self { values, floors })
    }
}

impl Outgoing for Judgement {
    fn json(&self) -> impl Serialize {
        self
    }

    fn tensors(&self) -> TensorMap {
        match self {
            Self::Verdict(_) => TensorMap::new(),
            Self::More(requests) => gather(requests, request_tensors),
        }
    }
}

impl Incoming for Judgement {
    type Json = Self;

    fn from_message(mut json: Self, mut tensors: TensorMap) -> Result<Self, PluginError> {
        if let Self::More(requests) = &mut json {
            put_back(requests, &mut tensors);
        }
        Ok(json)
    }
}

impl<M: Outgoing> Outgoing for [M] {
    fn json(&self) -> impl Serialize {
        self.iter().map(Outgoing::json).collect::<Vec<_>>()
    }

    fn tensors(&self) -> TensorMap {
        gather(self, Outgoing::tensors)
    }
}

impl<M: Incoming> Incoming for Vec<M> {
    type Json = Vec<M::Json>;

    fn from_message(json: Self::Json, mut tensors: TensorMap) -> Result<Self, PluginError> {
        json.into_iter()
            .enumerate()
            .map(|(index, json)| M::from_message(json, take(&mut tensors, &index.to_string())))
            .collect()
    }
}

/// A mistake by its name, and the model that it is made in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultOf {
    pub(super) fault: String,
    pub(super) spec: ModelSpec,
}

/// What a benchmark is to plan for, as the host sends it.
pub(super) struct Planning<'a> {
    pub(super) model: &'a ModelInfo,
    /// Where the plugin keeps it, in the place of what was there.
    pub(super) place: usize,
}

/// A [`Planning`] as it arrives.
pub(super) struct ReceivedPlanning {
    pub(super) model: ModelInfo,
    pub(super) place: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanningJson<M> {
    model: M,
    place: usize,
}

impl Outgoing for Planning<'_> {
    fn json(&self) -> impl Serialize {
        let Self { model, place } = *self;
        PlanningJson { model, place }
    }

    fn tensors(&self) -> TensorMap {
        self.model.tensors()
    }
}

impl Incoming for ReceivedPlanning {
    type Json = PlanningJson<ModelInfo>;

    fn from_message(json: Self::Json, tensors: TensorMap) -> Result<Self, PluginError> {
        Ok(Self {
            model: ModelInfo::from_message(json.model, tensors)?,
            place: json.place,
        })
    }
}

/// The model that a question is about, which is large and the same for all checks of a plan.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum About<M> {
    /// One that was planned for, by the place where the plugin keeps it.
    Kept(usize),
    /// Another one.
    Model(M),
}

/// What a benchmark is to judge, as the host sends it.
pub(super) struct Question<'a> {
    pub(super) about: About<&'a ModelInfo>,
    pub(super) check: &'a Check,
    pub(super) answers: &'a [Trace],
}

/// A [`Question`] as it arrives.
pub(super) struct ReceivedQuestion {
    pub(super) about: About<ModelInfo>,
    pub(super) check: Check,
    pub(super) answers: Vec<Trace>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionJson<A, C, T> {
    about: A,
    check: C,
    answers: T,
}

impl Outgoing for Question<'_> {
    fn json(&self) -> impl Serialize {
        QuestionJson {
            about: &self.about,
            check: self.check,
            answers: self.answers.json(),
        }
    }

    fn tensors(&self) -> TensorMap {
        let of_model = match self.about {
            About::Model(model) => model.tensors(),
            About::Kept(_) => TensorMap::new(),
        };
        let parts = [
            ("model", of_model),
            ("check", self.check.tensors()),
            ("answers", self.answers.tensors()),
        ];
        let parts = parts.into_iter();
        parts
            .flat_map(|(prefix, map)| prefixed(prefix, map))
            .collect()
    }
}

impl Incoming for ReceivedQuestion {
    type Json = QuestionJson<About<ModelInfo>, Check, Vec<BTreeMap<Quantity, Floor>>>;

    fn from_message(json: Self::Json, mut tensors: TensorMap) -> Result<Self, PluginError> {
        let about = match json.about {
            About::Kept(place) => About::Kept(place),
            About::Model(model) => {
                About::Model(ModelInfo::from_message(model, take(&mut tensors, "model"))?)
            }
        };
        Ok(Self {
            about,
            check: Check::from_message(json.check, take(&mut tensors, "check"))?,
            answers: Vec::from_message(json.answers, take(&mut tensors, "answers"))?,
        })
    }
}

fn stimulus_tensors(stimulus: &Stimulus) -> TensorMap {
    stimulus.request.tensors()
}

fn put_back_in_stimuli(stimuli: &mut [Stimulus], tensors: &mut TensorMap) {
    for (index, stimulus) in stimuli.iter_mut().enumerate() {
        let own = take(tensors, &index.to_string());
        stimulus.request.set_tensors(own);
    }
}

fn request_tensors(planned: &PlannedRequest) -> TensorMap {
    planned.request.tensors()
}

fn put_back(requests: &mut [PlannedRequest], tensors: &mut TensorMap) {
    for (index, planned) in requests.iter_mut().enumerate() {
        planned
            .request
            .set_tensors(take(tensors, &index.to_string()));
    }
}

fn gather<T>(items: &[T], tensors: impl Fn(&T) -> TensorMap) -> TensorMap {
    items
        .iter()
        .enumerate()
        .flat_map(|(index, item)| prefixed(&index.to_string(), tensors(item)))
        .collect()
}

fn prefixed(prefix: &str, map: TensorMap) -> Vec<(String, crate::tensor::Tensor)> {
    map.into_iter()
        .map(|(name, tensor)| (format!("{prefix}/{name}"), tensor))
        .collect()
}

/// Takes what stands under `prefix/` out of `tensors`.
fn take(tensors: &mut TensorMap, prefix: &str) -> TensorMap {
    let prefix = format!("{prefix}/");
    // They stand together; to look at all the others would take a plan of many checks the square of its length.
    let names: Vec<String> = tensors
        .range(prefix.clone()..)
        .map(|(name, _)| name)
        .take_while(|name| name.starts_with(&prefix))
        .cloned()
        .collect();
    names
        .into_iter()
        .filter_map(|name| Some((name[prefix.len()..].to_owned(), tensors.remove(&name)?)))
        .collect()
}
