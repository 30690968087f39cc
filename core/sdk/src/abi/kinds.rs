//! Every kind of message by name, for what reads messages without knowing what they are: fuzzing.

use abi_stable::std_types::{RString, RVec, Tuple2};

use super::PluginDescription;
use super::message::{FaultOf, Incoming, Outgoing, Question, ReceivedQuestion, decode};
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

fn again_as_question(message: FfiMessage) -> Result<Message, PluginError> {
    let ReceivedQuestion {
        model,
        check,
        answers,
    } = decode(message)?;
    written(&Question {
        model: model.as_ref(),
        check: &check,
        answers: &answers,
    })
}

fn written<M: Outgoing + ?Sized>(message: &M) -> Result<Message, PluginError> {
    let (json, tensors) = message.to_message()?;
    Ok((json.to_string(), tensors))
}
