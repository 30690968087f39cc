//! A checkpoint that is open in Python, in one of its roles.

use std::collections::BTreeMap;

use tlbench_checkpoint::ModelFolder;
use tlbench_python_worker::{Pool, Python, absolute, from_blob, to_blob};
use tlbench_sdk::calibration::{Calibration, Computes, Precision, Values};
use tlbench_sdk::{
    DType, Evaluation, Host, ModelSpec, OpenRequest, Parameter, PluginError, Quantity, Role,
    SourceInfo, Tensor, TensorMap, Trace, TraceRequest, TraceSource,
};

use crate::architecture::Architecture;
use crate::options::{self, Api};
use crate::program::{ANSWER, Absent, Answer, Answered, CutWeight, OPEN, Open, Opened};

/// A checkpoint that is open in Python.
pub(crate) struct Live {
    python: Python,
    calibration: Calibration,
    role: Role,
    dtype: DType,
    opened: Opened,
}

impl Live {
    pub(crate) fn open(
        pythons: &Pool,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Self, PluginError> {
        if !matches!(request.dtype, DType::F32 | DType::F64) {
            return Err(PluginError::unsupported(format!(
                "transformer-lens is asked in f32 and f64, not in {}",
                request.dtype
            )));
        }
        let (apis, options) = options::split(&request.options, request.role)?;
        let (apis, architecture) = buildable(apis, &request.spec)?;
        let progress = |message: &str| host.progress(message);
        let python = pythons.take(&options, &progress)?;
        let (weights, tensors) = weights(request)?;
        let open = Open {
            apis: &apis,
            folder: &absolute(&request.folder)?,
            architecture,
            weights,
            absent: absent(request),
            hooks: &request.hooks,
            dtype: computed_in(request).name(),
        };
        let parameters: Vec<Parameter> = tensors.iter().map(parameter).collect();
        let (opened, _) = python.ask(OPEN, open, to_blob(&tensors)?, &progress)?;
        Ok(Self {
            python,
            calibration: Calibration::new(request.hooks.clone(), &parameters, &request.stimuli),
            role: request.role,
            dtype: computed_in(request),
            opened,
        })
    }

    /// As the worker tells it, with where floors come from if there are any.
    fn provenance(&self) -> BTreeMap<String, String> {
        let mut provenance = self.opened.provenance.clone();
        if self.role == Role::Reference {
            provenance.insert("precision".to_owned(), self.calibration.precision());
        }
        provenance
    }

    /// What it computes, its products summed in so many pieces.
    fn ask(
        &self,
        request: &TraceRequest,
        dtype: DType,
        pieces: usize,
    ) -> Result<Values, PluginError> {
        let question = Answer {
            request,
            dtype: dtype.name(),
            pieces,
        };
        let blob = to_blob(&request.tensors())?;
        let (Answered {}, blob) = self.python.ask(ANSWER, question, blob, &|_| {})?;
        let value = |(name, value): (String, Tensor)| {
            let quantity = name.parse::<Quantity>();
            let quantity = quantity.map_err(|error| PluginError::internal(error.to_string()))?;
            Ok((quantity, value))
        };
        from_blob(&blob)?.into_iter().map(value).collect()
    }
}

impl Computes for Live {
    /// Python keeps it.
    type Model = ();
    type Error = PluginError;

    fn model(&self, _: &TraceRequest) -> Result<(), PluginError> {
        Ok(())
    }

    fn run(
        &self,
        (): &(),
        request: &TraceRequest,
        precision: Precision,
    ) -> Result<Values, PluginError> {
        match precision {
            Precision::Exact => self.ask(request, DType::F64, 1),
            Precision::Rounded { pieces } => self.ask(request, DType::F32, pieces),
        }
    }
}

impl TraceSource for Live {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            stimuli: Vec::new(),
            processes_weights: true,
            provenance: self.provenance(),
            firings: Some(self.opened.firings.clone()),
        }
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        match self.role {
            Role::Subject | Role::ExactSubject => Ok(Trace {
                values: self.ask(request, self.dtype, 1)?,
                ..Trace::default()
            }),
            Role::Reference if request.evaluation == Evaluation::Local => {
                Err(PluginError::unsupported(
                    "transformer-lens is the truth here, and does not run on another one",
                ))
            }
            Role::Reference => self.calibration.answer(self, request),
        }
    }
}

/// Those of `apis` that can build the model, and what HookedTransformer is told of it. The bridge reads the folder by
/// itself, and is told nothing.
fn buildable(
    apis: Vec<Api>,
    spec: &ModelSpec,
) -> Result<(Vec<Api>, Option<Architecture>), PluginError> {
    let refusal = match Architecture::of(spec) {
        Ok(architecture) => return Ok((apis, Some(architecture))),
        Err(refusal) => refusal,
    };
    let apis: Vec<Api> = apis.into_iter().filter(|api| *api == Api::Bridge).collect();
    if apis.is_empty() {
        return Err(refusal);
    }
    Ok((apis, None))
}

/// The precision of the answers.
const fn computed_in(request: &OpenRequest) -> DType {
    match request.role {
        Role::Subject | Role::ExactSubject => request.dtype,
        Role::Reference => DType::F64,
    }
}

/// The canonical weights, each with the tensor that it is cut from, and these tensors.
fn weights(request: &OpenRequest) -> Result<(Vec<CutWeight>, TensorMap), PluginError> {
    let folder = ModelFolder::open(&request.folder)?;
    let (mut weights, mut tensors) = (Vec::new(), TensorMap::new());
    for weight in request.spec.weights() {
        let stored = folder.weights().resolve(&weight.source)?.to_owned();
        if !tensors.contains_key(&stored) {
            tensors.insert(stored.clone(), folder.weights().read(&stored)?);
        }
        weights.push(CutWeight {
            name: weight.name,
            stored,
            cut: weight.source.cut,
        });
    }
    Ok((weights, tensors))
}

fn parameter((name, tensor): (&String, &Tensor)) -> Parameter {
    Parameter {
        name: name.clone(),
        shape: tensor.shape().to_vec(),
    }
}

fn absent(request: &OpenRequest) -> Vec<Absent> {
    let absent = request.spec.absent_weights().into_iter();
    absent
        .map(|weight| Absent {
            name: weight.name,
            shape: weight.shape,
            neutral: weight.neutral,
        })
        .collect()
}
