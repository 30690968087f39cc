//! References that break the rules for inputs and answers.

use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Host, INPUT_IDS, OpenRequest, PluginError, Quantity, ReferenceInfo, ReferenceModel, SourceInfo,
    Stimulus, Tensor, Tier, Trace, TraceRequest, TraceSource,
};

/// An id, and what is wrong.
pub(crate) struct Liar(pub(crate) &'static str, pub(crate) Lie);

/// What is done to the good inputs, and to the good answers.
#[derive(Clone, Copy)]
pub(crate) struct Lie {
    info: fn(&mut SourceInfo),
    answer: fn(&mut Trace),
}

const GOOD: Lie = Lie {
    info: |_| {},
    answer: |_| {},
};

pub(crate) const PAINTED: Lie = Lie {
    info: |info| {
        let value = "5.23\n✓ reference: hf-recorded, tier 1\u{1b}[8m";
        info.provenance.insert("transformers".into(), value.into());
    },
    ..GOOD
};

pub(crate) const NO_TOKENS: Lie = Lie {
    info: |info| info.stimuli[0].request.inputs.clear(),
    ..GOOD
};

pub(crate) const FLOATS_FOR_TOKENS: Lie = Lie {
    info: |info| {
        let floats = Tensor::vector(vec![1.0_f32]);
        info.stimuli[0]
            .request
            .inputs
            .insert(INPUT_IDS.into(), floats);
    },
    ..GOOD
};

pub(crate) const SAME_INPUT_TWICE: Lie = Lie {
    info: |info| {
        let again = info.stimuli[0].clone();
        info.stimuli.push(again);
    },
    ..GOOD
};

pub(crate) const SHOWS_NOTHING: Lie = Lie {
    info: |info| info.stimuli[0].request.capture.clear(),
    ..GOOD
};

pub(crate) const LEAVES_OUT: Lie = Lie {
    answer: |trace| {
        trace.values.remove(&Quantity::Logits);
    },
    ..GOOD
};

pub(crate) const OTHER_SHAPE: Lie = Lie {
    answer: |trace| put(trace, Tensor::vector(vec![0.0_f32; 3])),
    ..GOOD
};

pub(crate) const OTHER_WIDTH: Lie = Lie {
    answer: |trace| {
        let [batch, pos] = [0, 1].map(|dim| trace.values[&Quantity::Logits].shape()[dim]);
        if let Ok(narrow) = Tensor::from_vec(vec![0.0_f32; batch * pos], &[batch, pos, 1]) {
            put(trace, narrow);
        }
    },
    ..GOOD
};

pub(crate) const NAN_TRUTH: Lie = Lie {
    answer: |trace| {
        let logits = &trace.values[&Quantity::Logits];
        if let Ok(nan) = Tensor::from_vec(vec![f32::NAN; logits.len()], logits.shape()) {
            put(trace, nan);
        }
    },
    ..GOOD
};

pub(crate) const NAN_FLOOR: Lie = Lie {
    answer: |trace| floor(trace, f64::NAN),
    ..GOOD
};

pub(crate) const NEGATIVE_FLOOR: Lie = Lie {
    answer: |trace| floor(trace, -1.0),
    ..GOOD
};

pub(crate) const INFINITE_FLOOR: Lie = Lie {
    answer: |trace| floor(trace, f64::INFINITY),
    ..GOOD
};

pub(crate) const NO_FLOOR: Lie = Lie {
    answer: |trace| trace.floors.clear(),
    ..GOOD
};

pub(crate) const MORE_THAN_ASKED: Lie = Lie {
    answer: |trace| {
        let nowhere = Quantity::hook("hook_nowhere");
        trace
            .values
            .insert(nowhere.clone(), Tensor::scalar(f32::NAN));
        trace.floors.insert(nowhere, FLOOR);
    },
    ..GOOD
};

/// So wide that the shipped checkpoint is within it.
const FLOOR: Floor = Floor {
    cumulative: 1e3,
    local: None,
};

fn put(trace: &mut Trace, logits: Tensor) {
    trace.values.insert(Quantity::Logits, logits);
}

fn floor(trace: &mut Trace, cumulative: f64) {
    let floor = Floor {
        cumulative,
        local: None,
    };
    trace.floors.insert(Quantity::Logits, floor);
}

impl ReferenceModel for Liar {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: self.0.into(),
            description: "answers with zeros, and worse".into(),
            tier: Tier::HuggingFace,
            rank: None,
            can_be_subject: false,
        }
    }

    fn open(
        &self,
        request: &OpenRequest,
        _: &dyn Host,
    ) -> Result<Box<dyn TraceSource>, PluginError> {
        let none = || PluginError::unsupported("there is no input");
        let mut stimulus = request.stimuli.first().ok_or_else(none)?.clone();
        stimulus.request.capture = vec![Quantity::Logits];
        Ok(Box::new(Lying {
            stimulus,
            d_vocab: request.spec.d_vocab,
            lie: self.1,
        }))
    }
}

struct Lying {
    stimulus: Stimulus,
    d_vocab: usize,
    lie: Lie,
}

impl TraceSource for Lying {
    fn info(&self) -> SourceInfo {
        let mut info = SourceInfo {
            stimuli: vec![self.stimulus.clone()],
            ..SourceInfo::default()
        };
        (self.lie.info)(&mut info);
        info
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let &[batch, pos] = request.inputs[INPUT_IDS].shape() else {
            return Err(PluginError::invalid_input("no batch"));
        };
        let shape = [batch, pos, self.d_vocab];
        let logits = Tensor::from_vec(vec![0.0_f32; shape.iter().product()], &shape)?;
        let mut trace = Trace {
            values: [(Quantity::Logits, logits)].into(),
            floors: [Quantity::Logits, Quantity::LogProbs]
                .map(|quantity| (quantity, FLOOR))
                .into(),
        };
        (self.lie.answer)(&mut trace);
        Ok(trace)
    }
}
