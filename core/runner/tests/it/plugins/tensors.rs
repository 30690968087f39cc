//! Tensors through a library that was really loaded: every bit arrives, and comes back.

use half::{bf16, f16};
use serde_json::Map;
use tlbench::model::Model;
use tlbench::{Registry, SearchPath};
use tlbench_sdk::{
    DType, Host, OpenRequest, Quantity, ReferenceModel, Tensor, TensorMap, Trace, TraceRequest,
};

use crate::support::built::{plugin, test_plugin};
use crate::support::fixture;

/// What the plugin `tensors` answers to `inputs`, with everything of the plugin but its library dropped.
fn echoed(inputs: TensorMap) -> Trace {
    let registry = Registry::load(&SearchPath {
        named: vec![plugin("tlbench_gpt2").into(), test_plugin("tensors").into()],
        implied: Vec::new(),
    });
    assert!(registry.problems.is_empty(), "{:?}", registry.problems);
    let model = Model::open(&fixture(""), None, &registry).unwrap();
    let request = OpenRequest {
        folder: fixture(""),
        spec: model.spec,
        hooks: model.hooks,
        role: tlbench_sdk::Role::Reference,
        dtype: DType::F32,
        config_digest: String::new(),
        weights_digest: String::new(),
        recording: None,
        stimuli: Vec::new(),
        options: Map::new(),
    };
    let source = registry.references["echo"]
        .object
        .open(&request, &Deaf)
        .unwrap();
    source
        .trace(&TraceRequest::new(inputs, Vec::new()))
        .unwrap()
}

struct Deaf;

impl Host for Deaf {
    fn progress(&self, message: &str) {
        assert_eq!(message, "listening");
    }
}

fn shown<'a>(trace: &'a Trace, kind: &str, name: &str) -> &'a Tensor {
    trace
        .value(&Quantity::hook(format!("{kind}/{name}")))
        .unwrap_or_else(|| panic!("no {kind}/{name}"))
}

/// Asserts that the plugin saw the bytes of each tensor, and that they came back.
fn survives(tensors: impl IntoIterator<Item = Tensor>) {
    let inputs: TensorMap = tensors
        .into_iter()
        .enumerate()
        .map(|(index, tensor)| (index.to_string(), tensor))
        .collect();
    let trace = echoed(inputs.clone());
    for (name, tensor) in &inputs {
        assert_eq!(shown(&trace, "echo", name), tensor);
        let seen = shown(&trace, "bytes", name).as_slice::<i64>().unwrap();
        let sent: Vec<i64> = tensor.bytes().iter().map(|&byte| byte.into()).collect();
        assert_eq!(seen, sent);
    }
}

#[test]
fn nan_and_infinity_survive_bit_for_bit() {
    survives([
        Tensor::vector(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]),
        Tensor::vector(vec![
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xffc0_1234),
        ]),
        Tensor::vector(vec![f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001)]),
        Tensor::vector(vec![f64::MIN_POSITIVE / 2.0, f64::MAX]),
    ]);
}

#[test]
fn empty_and_zero_dimensional_tensors_keep_their_shape() {
    survives([
        Tensor::from_vec::<f32>(vec![], &[0]).unwrap(),
        Tensor::from_vec::<bf16>(vec![], &[2, 0, 5]).unwrap(),
        Tensor::scalar(f64::NEG_INFINITY),
        Tensor::scalar(i64::MIN),
        Tensor::from_vec(vec![1_i64], &[1, 1, 1, 1, 1, 1]).unwrap(),
    ]);
}

#[test]
fn every_16_bit_pattern_survives() {
    let patterns = 0..=u16::MAX;
    survives([
        Tensor::vector(patterns.clone().map(bf16::from_bits).collect()),
        Tensor::vector(patterns.map(f16::from_bits).collect()),
    ]);
}

#[test]
fn what_a_plugin_made_outlives_its_objects() {
    let trace = echoed(TensorMap::new());
    let made = |name: &str| shown(&trace, "made", name).clone();
    assert_eq!(
        made("not_finite"),
        Tensor::vector(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0])
    );
    assert_eq!(
        made("nan_with_a_payload"),
        Tensor::scalar(f64::from_bits(0x7ff4_0000_dead_beef))
    );
    assert_eq!(
        made("empty"),
        Tensor::from_vec::<f64>(vec![], &[3, 0, 7]).unwrap()
    );
    assert_eq!(made("no_dimensions"), Tensor::scalar(i64::MIN));
    let patterns = [0x3f81, 0xff80].map(bf16::from_bits).to_vec();
    assert_eq!(made("bf16"), Tensor::from_vec(patterns, &[1, 2]).unwrap());
    assert_eq!(made("f16"), Tensor::vector(vec![f16::from_bits(1)]));
}
