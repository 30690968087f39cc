//! What an adapter is held to by the checkpoints that HF wrote; the tests of each family take it in by its path.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tlbench_sdk::spec::{HfTap, TapStep, TensorSource};
use tlbench_sdk::{
    Adapted, ArchitectureAdapter, ConfigError, ConfigReader, HookPoint, ModelSpec, Tensor, hooks,
};

pub(crate) fn reader(config: Value) -> ConfigReader {
    let Value::Object(config) = config else {
        panic!("a config is an object")
    };
    ConfigReader::new(config)
}

pub(crate) fn try_spec(
    adapter: &impl ArchitectureAdapter,
    config: Value,
) -> Result<ModelSpec, ConfigError> {
    adapter.spec(&reader(config))
}

pub(crate) fn spec(adapter: &impl ArchitectureAdapter, config: Value) -> ModelSpec {
    try_spec(adapter, config).unwrap()
}

/// The folder of a checkpoint beside the crate.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

pub(crate) fn config(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(name).join("config.json")).unwrap()).unwrap()
}

/// A fixture's config without some keys, and with others.
pub(crate) fn respelled(name: &str, without: &[&str], with: Value) -> Value {
    let Value::Object(mut config) = config(name) else {
        panic!("a config is an object")
    };
    for key in without {
        assert!(config.remove(*key).is_some(), "{key}");
    }
    let Value::Object(with) = with else {
        panic!("keys and values")
    };
    config.extend(with);
    Value::Object(config)
}

/// What each config is refused with.
pub(crate) fn refusals<const N: usize>(
    adapter: &impl ArchitectureAdapter,
    configs: [Value; N],
) -> String {
    configs
        .map(|config| try_spec(adapter, config).unwrap_err().to_string())
        .join("\n")
}

/// The keys of `config` that nobody read and that are not known to change nothing.
pub(crate) fn keys_not_read(adapter: &impl ArchitectureAdapter, config: &Value) -> Vec<String> {
    let reader = reader(config.clone());
    let adapted = Adapted {
        spec: adapter.spec(&reader).unwrap(),
        keys_read: reader.keys_read(),
        keys_neutral: reader.keys_neutral(),
    };
    let config = config.as_object().cloned();
    adapted.keys_not_read(&config.unwrap_or_default())
}

/// Every key that HF writes is read, or known to change nothing; and no component names a key that nobody read.
pub(crate) fn assert_keys_known(adapter: &impl ArchitectureAdapter, name: &str) {
    let config = config(name);
    let reader = reader(config.clone());
    let spec = adapter.spec(&reader).unwrap();
    let read = reader.keys_read();
    assert_eq!(keys_not_read(adapter, &config), [""; 0], "{name}");
    for component in spec.components() {
        assert!(!component.config_keys.is_empty(), "{}", component.name);
        for key in &component.config_keys {
            assert!(read.contains(key), "{name}: {}: {key}", component.name);
        }
    }
    assert_eq!(spec.check(), Ok(()), "{name}");
}

/// Shapes by name.
pub(crate) type Checkpoint = BTreeMap<String, Vec<usize>>;

pub(crate) fn tensors(name: &str) -> Checkpoint {
    let bytes = fs::read(folder(name).join("model.safetensors")).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let header: BTreeMap<String, Value> = serde_json::from_slice(&rest[..length]).unwrap();
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let shape = serde_json::from_value(entry["shape"].clone()).unwrap();
            (name, shape)
        })
        .collect()
}

/// Every element of every tensor is taken once, and those of the tensor `twice`, if any, twice.
pub(crate) fn assert_taken_once(spec: &ModelSpec, checkpoint: &Checkpoint, twice: &str) {
    let mut counts: BTreeMap<&str, Vec<u32>> = checkpoint
        .iter()
        .map(|(name, shape)| (name.as_str(), vec![0; shape.iter().product()]))
        .collect();
    for (role, source) in spec.sources() {
        let name = found(source, checkpoint).unwrap_or_else(|| panic!("{role} is missing"));
        assert_eq!(source.shape, checkpoint[name], "{role}");
        for place in places(source) {
            counts.get_mut(name).unwrap()[place] += 1;
        }
    }
    for (name, counts) in counts {
        let expected = if name == twice { 2 } else { 1 };
        assert!(counts.iter().all(|&count| count == expected), "{name}");
    }
}

/// The name under which `checkpoint` holds what `source` takes.
pub(crate) fn found<'a>(source: &'a TensorSource, checkpoint: &Checkpoint) -> Option<&'a str> {
    let mut names = source.names.iter().map(String::as_str);
    names.find(|&name| checkpoint.contains_key(name))
}

/// Which elements of the stored tensor are meant.
fn places(source: &TensorSource) -> Vec<usize> {
    let all = (0_i64..).take(source.shape.iter().product()).collect();
    let whole = Tensor::from_vec::<i64>(all, &source.shape).unwrap();
    let part = source
        .cut
        .iter()
        .try_fold(whole, |whole, cut| cut.apply(&whole))
        .unwrap();
    let places = part.as_slice::<i64>().unwrap().iter();
    places
        .map(|&place| usize::try_from(place).unwrap())
        .collect()
}

/// Each hook with its shape, its gate, and where HF shows it.
pub(crate) fn hook_lines(spec: &ModelSpec) -> String {
    let lines: Vec<String> = hooks(spec).iter().map(hook_line).collect();
    lines.join("\n")
}

fn hook_line(point: &HookPoint) -> String {
    let gate = point.gate.map(|gate| format!(" if {}", gate.name()));
    let tap = point.hf_tap.as_ref();
    let tap = tap.map(|tap| format!(" <- {}", shown(tap)));
    format!(
        "{} {}{}{}",
        point.name,
        point.shape_text(),
        gate.unwrap_or_default(),
        tap.unwrap_or_default()
    )
}

fn shown(tap: &HfTap) -> String {
    let steps = tap.steps.iter().map(|step| match step {
        TapStep::Slice { start, len } => format!("[..{start}+{len}]"),
        TapStep::Split { sizes } => format!(" split {sizes:?}"),
        TapStep::Select { dim, index } => format!(" select {index} of {dim}"),
        TapStep::Transpose { a, b } => format!(" transpose {a} {b}"),
    });
    let steps: String = steps.collect();
    format!("{} {:?}{steps}", tap.module, tap.port)
}
