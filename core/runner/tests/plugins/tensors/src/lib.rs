//! A reference that shows what arrives in a plugin, and sends what is hard to send.

use half::{bf16, f16};
use tlbench_sdk::{
    Host, OpenRequest, PluginError, Quantity, ReferenceInfo, ReferenceModel, SourceInfo, Tensor,
    Tier, Trace, TraceRequest, TraceSource,
};

tlbench_sdk::plugin! {
    references: [Echo],
}

struct Echo;

impl ReferenceModel for Echo {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: "echo".into(),
            description: "gives back what it is given".into(),
            tier: Tier::HookedTransformer,
            rank: None,
            can_be_subject: false,
        }
    }

    fn open(&self, _: &OpenRequest, host: &dyn Host) -> Result<Box<dyn TraceSource>, PluginError> {
        host.progress("listening");
        Ok(Box::new(Ears))
    }
}

struct Ears;

impl TraceSource for Ears {
    fn info(&self) -> SourceInfo {
        SourceInfo::default()
    }

    /// `echo/NAME`: the input NAME as it arrived. `bytes/NAME`: its bytes as this library reads them, one integer each.
    /// `made/NAME`: tensors whose memory is this library's.
    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let mut trace = Trace::default();
        for (name, tensor) in &request.inputs {
            let bytes = tensor.bytes().iter().map(|&byte| i64::from(byte)).collect();
            trace.values.insert(hook("echo", name), tensor.clone());
            trace
                .values
                .insert(hook("bytes", name), Tensor::vector::<i64>(bytes));
        }
        for (name, tensor) in made()? {
            trace.values.insert(hook("made", name), tensor);
        }
        Ok(trace)
    }
}

fn hook(kind: &str, name: &str) -> Quantity {
    Quantity::hook(format!("{kind}/{name}"))
}

fn made() -> Result<[(&'static str, Tensor); 6], PluginError> {
    Ok([
        (
            "not_finite",
            Tensor::vector(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]),
        ),
        (
            "nan_with_a_payload",
            Tensor::scalar(f64::from_bits(0x7ff4_0000_dead_beef)),
        ),
        ("empty", Tensor::from_vec::<f64>(vec![], &[3, 0, 7])?),
        ("no_dimensions", Tensor::scalar(i64::MIN)),
        (
            "bf16",
            Tensor::from_vec(
                vec![bf16::from_bits(0x3f81), bf16::from_bits(0xff80)],
                &[1, 2],
            )?,
        ),
        ("f16", Tensor::vector(vec![f16::from_bits(0x0001)])),
    ])
}
