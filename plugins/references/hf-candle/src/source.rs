//! An open checkpoint, in one of its roles.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use tlbench_checkpoint::{ModelFolder, Weights};
use tlbench_sdk::calibration::{Calibration, Computes, Precision, Values};
use tlbench_sdk::{
    OpenRequest, Parameter, PluginError, Role, SourceInfo, Trace, TraceRequest, TraceSource,
};

use crate::answer::answer;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ports;

/// The release whose models these are.
pub(crate) const RELEASE: &str = "0.11.1";

/// A checkpoint, from which each question gets a model of its own: some keep state.
pub(crate) struct Source {
    config: Config,
    /// In f32, or f64 where they are stored so.
    weights: HashMap<String, Tensor>,
    n_ctx: Option<usize>,
    role: Role,
    dtype: DType,
    calibration: Calibration,
}

impl Source {
    pub(crate) fn open(request: &OpenRequest) -> Result<Self> {
        let folder = ModelFolder::open(&request.folder)?;
        let mut weights = HashMap::new();
        let mut parameters = Vec::new();
        for name in folder.weights().names() {
            let shape = folder.weights().shape(name)?.to_vec();
            let tensor = stored(folder.weights(), name)?;
            weights.insert(name.to_owned(), tensor);
            let name = name.to_owned();
            parameters.push(Parameter { name, shape });
        }
        let hooks = request.hooks.clone();
        let source = Self {
            config: Config::new(folder.config())?,
            weights,
            n_ctx: request.spec.n_ctx,
            role: request.role,
            dtype: precision(request.dtype)?,
            calibration: Calibration::new(hooks, &parameters, &request.stimuli).in_one_order(),
        };
        // A checkpoint that the port refuses is refused now.
        source.port(DType::F32)?;
        Ok(source)
    }

    fn port(&self, dtype: DType) -> Result<Box<dyn ports::Port>> {
        let weights = VarBuilder::from_tensors(self.weights.clone(), dtype, &Device::Cpu);
        ports::open(&self.config, weights)
    }

    fn ask(&self, request: &TraceRequest, dtype: DType) -> Result<Values> {
        answer(&mut *self.port(dtype)?, request, self.n_ctx)
    }
}

impl Computes for Source {
    type Model = ();
    type Error = Error;

    fn model(&self, _: &TraceRequest) -> Result<()> {
        Ok(())
    }

    fn run(&self, (): &(), request: &TraceRequest, precision: Precision) -> Result<Values> {
        match precision {
            Precision::Exact => self.ask(request, DType::F64),
            Precision::Rounded { .. } => self.ask(request, DType::F32),
        }
    }
}

impl TraceSource for Source {
    fn info(&self) -> SourceInfo {
        let mut provenance = vec![("candle-transformers".to_owned(), RELEASE.to_owned())];
        if self.role == Role::Reference {
            provenance.push(("precision".to_owned(), self.calibration.precision()));
        }
        SourceInfo {
            provenance: provenance.into_iter().collect(),
            ..SourceInfo::default()
        }
    }

    fn trace(&self, request: &TraceRequest) -> std::result::Result<Trace, PluginError> {
        match self.role {
            Role::Subject | Role::ExactSubject => Ok(Trace {
                values: self.ask(request, self.dtype)?,
                ..Trace::default()
            }),
            Role::Reference => Ok(self.calibration.answer(self, request)?),
        }
    }
}

/// A tensor with all that its bits say.
pub(crate) fn stored(weights: &Weights, name: &str) -> Result<Tensor> {
    let shape = weights.shape(name)?;
    Ok(match weights.dtype(name)? {
        tlbench_sdk::DType::F64 => Tensor::from_vec(weights.read_f64(name)?, shape, &Device::Cpu)?,
        _ => Tensor::from_vec(weights.read_f32(name)?, shape, &Device::Cpu)?,
    })
}

/// candle's own type.
fn precision(dtype: tlbench_sdk::DType) -> Result<DType> {
    match dtype {
        tlbench_sdk::DType::F32 => Ok(DType::F32),
        tlbench_sdk::DType::F64 => Ok(DType::F64),
        tlbench_sdk::DType::BF16 => Ok(DType::BF16),
        tlbench_sdk::DType::F16 => Ok(DType::F16),
        tlbench_sdk::DType::I64 => Err(Error::Unanswerable("do not compute in integers")),
    }
}
