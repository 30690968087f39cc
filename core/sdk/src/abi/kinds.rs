//! Every kind of message by name, for what reads messages without knowing what they are: fuzzing.

use abi_stable::std_types::{RString, RVec, Tuple2};

use super::PluginDescription;
use super::message::{
    About, FaultOf, Incoming, Outgoing, Planning, Question, ReceivedPlanning, ReceivedQuestion,
    decode, text,
};
use super::objects::FfiMessage;
use super::tensor::FfiTensor;
use crate::adapter::{Adapted, ArchitectureInfo};
use crate::benchmark::{BenchmarkInfo, Check, Judgement, ModelInfo};
use crate::error::PluginError;
use crate::fault::{FaultEdit, FaultZooInfo, Repair, Symptom};
use crate::reference::{OpenRequest, ReferenceInfo, SourceInfo};
use crate::tensor::TensorMap;
use crate::trace::{Trace, TraceRequest};

/// A message as it crosses: its JSON text, and the tensors beside it.
pub type Message = (String, TensorMap);

/// Reads `json` with `tensors` as a message of the kind `name`, and writes what was understood. `None` if there is no
/// such kind.
///
/// # Errors
/// If it is not understood.
pub fn reread(name: &str, json: &str, tensors: &TensorMap) -> Option<Result<Message, PluginError>> {
    let reread = match name {
        "Adapted" => again::<Adapted>,
        "ArchitectureInfo" => again::<ArchitectureInfo>,
        "BenchmarkInfo" => again::<BenchmarkInfo>,
        "Checks" => again_in_list::<Check>,
        "Config" => again::<serde_json::Map<String, serde_json::Value>>,
        "FaultEdits" => again_in_list::<FaultEdit>,
        "FaultOf" => again::<FaultOf>,
        "FaultZooInfo" => again::<FaultZooInfo>,
        "Judgement" => again::<Judgement>,
        "ModelInfo" => again::<ModelInfo>,
        "OpenRequest" => again::<OpenRequest>,
        "Planning" => again_as_planning,
        "PluginDescription" => again::<PluginDescription>,
        "Question" => again_as_question,
        "ReferenceInfo" => again::<ReferenceInfo>,
        "Repairs" => again_in_list::<Repair>,
        "SourceInfo" => again::<SourceInfo>,
        "Symptom" => again::<Symptom>,
        "Trace" => again::<Trace>,
        "TraceRequest" => again::<TraceRequest>,
        _ => return None,
    };
    Some(reread(arrived(json, tensors)))
}

fn arrived(json: &str, tensors: &TensorMap) -> FfiMessage {
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Tuple2(RString::from(name.as_str()), FfiTensor::export(tensor)));
    FfiMessage {
        json: RString::from(json),
        tensors: tensors.collect::<RVec<_>>(),
    }
}

fn again<M: Incoming + Outgoing>(message: FfiMessage) -> Result<Message, PluginError> {
    written(&decode::<M>(message)?)
}

fn again_in_list<M: Incoming + Outgoing>(message: FfiMessage) -> Result<Message, PluginError> {
    written(decode::<Vec<M>>(message)?.as_slice())
}

fn again_as_planning(message: FfiMessage) -> Result<Message, PluginError> {
    let ReceivedPlanning { model, place } = decode(message)?;
    let model = &model;
    written(&Planning { model, place })
}

fn again_as_question(message: FfiMessage) -> Result<Message, PluginError> {
    let ReceivedQuestion {
        about,
        check,
        answers,
    } = decode(message)?;
    written(&Question {
        about: match &about {
            About::Kept(place) => About::Kept(*place),
            About::Model(model) => About::Model(model),
        },
        check: &check,
        answers: &answers,
    })
}

fn written<M: Outgoing + ?Sized>(message: &M) -> Result<Message, PluginError> {
    Ok((text(message)?, message.tensors()))
}
