//! Structured data as messages: JSON text, with tensors beside it by name.

use abi_stable::std_types::{RString, RVec, Tuple2};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PluginDescription;
use super::objects::FfiMessage;
use super::tensor::FfiTensor;
use crate::adapter::{Adapted, ArchitectureInfo};
use crate::benchmark::{BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest};
use crate::error::PluginError;
use crate::fault::{FaultEdit, FaultZooInfo, Repair, Symptom};
use crate::reference::{OpenRequest, ReferenceInfo, SourceInfo, Stimulus};
use crate::spec::ModelSpec;
use crate::tensor::TensorMap;
use crate::trace::{Quantity, Trace, TraceRequest};

/// Something that is sent across the boundary.
pub(super) trait Outgoing {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError>;
}

/// Something that arrives.
pub(super) trait Incoming: Sized {
    fn from_message(json: Value, tensors: TensorMap) -> Result<Self, PluginError>;
}

pub(super) fn encode<M: Outgoing + ?Sized>(message: &M) -> Result<FfiMessage, PluginError> {
    let (json, tensors) = message.to_message()?;
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Tuple2(RString::from(name.as_str()), FfiTensor::export(tensor)));
    Ok(FfiMessage {
        json: RString::from(json.to_string()),
        tensors: tensors.collect::<RVec<_>>(),
    })
}

pub(super) fn decode<M: Incoming>(message: FfiMessage) -> Result<M, PluginError> {
    let tensors = message
        .tensors
        .into_iter()
        .map(|Tuple2(name, tensor)| Ok((name.into_string(), tensor.import()?)))
        .collect::<Result<TensorMap, PluginError>>()?;
    M::from_message(parse(message.json.as_str())?, tensors)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, PluginError> {
    serde_json::from_str(text).map_err(|error| misread(&error))
}

fn misread(error: &serde_json::Error) -> PluginError {
    PluginError::invalid_input(format!(
        "a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: {error}"
    ))
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, PluginError> {
    serde_json::from_value(value).map_err(|error| misread(&error))
}

fn to_value<T: Serialize>(value: &T) -> Result<Value, PluginError> {
    Ok(serde_json::to_value(value)?)
}

/// What has no tensors is its JSON.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        impl Outgoing for $type {
            fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
                Ok((to_value(self)?, TensorMap::new()))
            }
        }

        impl Incoming for $type {
            fn from_message(json: Value, _: TensorMap) -> Result<Self, PluginError> {
                from_value(json)
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

/// What holds stimuli has their tensors under `INDEX/NAME`.
macro_rules! with_stimuli {
    ($($type:ty),* $(,)?) => {$(
        impl Outgoing for $type {
            fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
                Ok((to_value(self)?, gather(&self.stimuli, |stimulus: &Stimulus| stimulus.request.tensors())))
            }
        }

        impl Incoming for $type {
            fn from_message(json: Value, mut tensors: TensorMap) -> Result<Self, PluginError> {
                let mut this: Self = from_value(json)?;
                for (index, stimulus) in this.stimuli.iter_mut().enumerate() {
                    stimulus.request.set_tensors(take(&mut tensors, &index.to_string()));
                }
                Ok(this)
            }
        }
    )*};
}

with_stimuli!(ModelInfo, OpenRequest, SourceInfo);

impl Outgoing for TraceRequest {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        Ok((to_value(self)?, self.tensors()))
    }
}

impl Incoming for TraceRequest {
    fn from_message(json: Value, tensors: TensorMap) -> Result<Self, PluginError> {
        let mut request: Self = from_value(json)?;
        request.set_tensors(tensors);
        Ok(request)
    }
}

impl Outgoing for Trace {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        let tensors = self
            .values
            .iter()
            .map(|(quantity, tensor)| (quantity.to_string(), tensor.clone()))
            .collect();
        Ok((to_value(&self.floors)?, tensors))
    }
}

impl Incoming for Trace {
    fn from_message(json: Value, tensors: TensorMap) -> Result<Self, PluginError> {
        let values = tensors
            .into_iter()
            .map(|(name, tensor)| {
                let quantity: Quantity = name
                    .parse()
                    .map_err(|error| PluginError::invalid_input(format!("{error}")))?;
                Ok((quantity, tensor))
            })
            .collect::<Result<_, PluginError>>()?;
        Ok(Self {
            values,
            floors: from_value(json)?,
        })
    }
}

impl Outgoing for Check {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        Ok((to_value(self)?, gather(&self.requests, request_tensors)))
    }
}

impl Incoming for Check {
    fn from_message(json: Value, mut tensors: TensorMap) -> Result<Self, PluginError> {
        let mut check: Self = from_value(json)?;
        put_back(&mut check.requests, &mut tensors);
        Ok(check)
    }
}

impl Outgoing for Judgement {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        let tensors = match self {
            Self::Verdict(_) => TensorMap::new(),
            Self::More(requests) => gather(requests, request_tensors),
        };
        Ok((to_value(self)?, tensors))
    }
}

impl Incoming for Judgement {
    fn from_message(json: Value, mut tensors: TensorMap) -> Result<Self, PluginError> {
        let mut judgement: Self = from_value(json)?;
        if let Self::More(requests) = &mut judgement {
            put_back(requests, &mut tensors);
        }
        Ok(judgement)
    }
}

impl<M: Outgoing> Outgoing for [M] {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        let parts = self
            .iter()
            .map(Outgoing::to_message)
            .collect::<Result<Vec<_>, _>>()?;
        let (list, maps): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok((Value::Array(list), gather(&maps, Clone::clone)))
    }
}

impl<M: Incoming> Incoming for Vec<M> {
    fn from_message(json: Value, mut tensors: TensorMap) -> Result<Self, PluginError> {
        let list: Vec<Value> = from_value(json)?;
        list.into_iter()
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

/// What a benchmark is to judge, as the host sends it.
pub(super) struct Question<'a> {
    /// `None`: the one that it planned for last, which is large and the same for all of its checks.
    pub(super) model: Option<&'a ModelInfo>,
    pub(super) check: &'a Check,
    pub(super) answers: &'a [Trace],
}

impl Outgoing for Question<'_> {
    fn to_message(&self) -> Result<(Value, TensorMap), PluginError> {
        let (model, model_tensors) = match self.model {
            Some(model) => model.to_message()?,
            None => (Value::Null, TensorMap::new()),
        };
        let (check, check_tensors) = self.check.to_message()?;
        let (answers, answer_tensors) = self.answers.to_message()?;
        let tensors = [
            ("model", model_tensors),
            ("check", check_tensors),
            ("answers", answer_tensors),
        ]
        .into_iter()
        .flat_map(|(prefix, map)| prefixed(prefix, map))
        .collect();
        Ok((
            json!({ "model": model, "check": check, "answers": answers }),
            tensors,
        ))
    }
}

/// A [`Question`] as it arrives.
pub(super) struct ReceivedQuestion {
    pub(super) model: Option<ModelInfo>,
    pub(super) check: Check,
    pub(super) answers: Vec<Trace>,
}

impl Incoming for ReceivedQuestion {
    fn from_message(json: Value, mut tensors: TensorMap) -> Result<Self, PluginError> {
        #[derive(Deserialize)]
        struct Parts {
            model: Value,
            check: Value,
            answers: Value,
        }
        let parts: Parts = from_value(json)?;
        let model = match parts.model {
            Value::Null => None,
            model => Some(ModelInfo::from_message(model, take(&mut tensors, "model"))?),
        };
        Ok(Self {
            model,
            check: Check::from_message(parts.check, take(&mut tensors, "check"))?,
            answers: Vec::from_message(parts.answers, take(&mut tensors, "answers"))?,
        })
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
