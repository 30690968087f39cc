//! Numbers that may have any value: where they stand, and between what they lie.

use serde_json::Value;
use tlbench_sdk::{Remedy, Repair, Symptom, Values};

use super::variant::keys;

/// A number of one kind of component.
struct Number {
    fault: &'static str,
    /// What it is called.
    name: &'static str,
    /// Where it stands in a component of its kind.
    path: &'static str,
    values: Values,
}

const fn positive(
    fault: &'static str,
    name: &'static str,
    path: &'static str,
    [from, to]: [f64; 2],
) -> Number {
    let values = Values::Positive { from, to };
    Number {
        fault,
        name,
        path,
        values,
    }
}

const ATTENTION: &[Number] = &[
    positive(
        "attention-scale-by-head",
        "the factor of the scores",
        "/scale",
        [1e-3, 10.0],
    ),
    positive(
        "rotary-theta",
        "theta",
        "/position/rotary/theta",
        [100.0, 1e8],
    ),
    positive(
        "rotary-scaling-linear",
        "the factor of the scaling",
        "/position/rotary/scaling/linear/factor",
        [0.1, 256.0],
    ),
    positive(
        "rotary-scaling-linear",
        "the factor of the scaling",
        "/position/rotary/scaling/dynamic/factor",
        [0.1, 256.0],
    ),
    positive(
        "rotary-scaling-linear",
        "the factor of the scaling",
        "/position/rotary/scaling/yarn/factor",
        [0.1, 256.0],
    ),
    positive(
        "rotary-scaling-linear",
        "the factor of the scaling",
        "/position/rotary/scaling/llama3/factor",
        [0.1, 256.0],
    ),
    positive(
        "rotary-attention-factor",
        "the factor of sines and cosines",
        "/position/rotary/scaling/yarn/attention_factor",
        [0.1, 10.0],
    ),
    positive(
        "rotary-attention-factor",
        "the factor of sines and cosines",
        "/position/rotary/scaling/long_rope/attention_factor",
        [0.1, 10.0],
    ),
    Number {
        fault: "window-one-more",
        name: "the number of earlier tokens that a token sees",
        path: "/mask/band/back",
        values: Values::Whole { from: 0, to: 64 },
    },
    positive(
        "attention-softcap-missing",
        "the softcap of the scores",
        "/softcap",
        [0.1, 1e3],
    ),
    positive(
        "qkv-clip-missing",
        "the limit of queries, keys and values",
        "/clip_qkv",
        [0.01, 1e3],
    ),
];

const NORM: &[Number] = &[positive("norm-eps", "eps", "/eps", [1e-13, 0.1])];

/// Where the norms of a block are.
const NORMS: &[&str] = &[
    "/attn/input/norm",
    "/attn/body/qk_norm/q/norm",
    "/attn/body/qk_norm/k/norm",
    "/attn/output_norm",
    "/attn/sum_norm",
    "/mlp/input/norm",
    "/mlp/output_norm",
    "/mlp/sum_norm",
];

const MOE: &[Number] = &[positive(
    "router-normalisation",
    "the factor of the experts' weights",
    "/moe/routed_scale",
    [1e-2, 100.0],
)];

const BRANCH: &[Number] = &[positive(
    "output-scale-missing",
    "the factor of the output",
    "/output_scale",
    [1e-3, 100.0],
)];

const EMBEDDING: &[Number] = &[positive(
    "embed-scale-missing",
    "the factor of the embedding",
    "/scale/value",
    [1e-2, 1e3],
)];

const UNEMBED: &[Number] = &[
    positive(
        "logit-scale-missing",
        "the factor of the logits",
        "/logit_scale",
        [1e-3, 1e3],
    ),
    positive(
        "final-softcap-missing",
        "the softcap of the logits",
        "/softcap",
        [0.1, 1e4],
    ),
];

/// Every number of `component` that can be searched for. Where others of its kind have the same, they are changed with it.
pub(super) fn numbers(symptom: &Symptom, component: &str) -> Vec<Repair> {
    let Ok(spec) = serde_json::to_value(&symptom.spec) else {
        return Vec::new();
    };
    let repairs = places(&spec, component).into_iter().flat_map(|place| {
        let spec = &spec;
        let numbers = place.numbers.iter();
        numbers.filter_map(move |number| place.repair(spec, number))
    });
    repairs.collect()
}

/// A component in the spec as JSON.
struct Place {
    /// In front of it: a block, or nothing.
    block: String,
    /// From there to the component.
    rest: &'static str,
    numbers: &'static [Number],
}

impl Place {
    fn repair(&self, spec: &Value, number: &Number) -> Option<Repair> {
        let own = format!("{}{}{}", self.block, self.rest, number.path);
        let found = at(spec, &own)?;
        let layers = spec.pointer("/layers")?.as_array()?.len();
        let rests = if number.name == "eps" {
            NORMS
        } else {
            &[self.rest]
        };
        let path = number.path;
        let in_blocks = (0..layers).flat_map(|layer| {
            let rests = rests.iter();
            rests.map(move |rest| format!("/layers/{layer}{rest}{path}"))
        });
        let others = in_blocks.filter(|other| *other != own && at(spec, other) == Some(found));
        let mut all = vec![own.clone()];
        all.extend(others);
        let component = spec.pointer(&format!("{}{}", self.block, self.rest));
        Some(Repair {
            fault: number.fault.to_owned(),
            look_at: keys(&component.map_or_else(Vec::new, config_keys)),
            remedy: Remedy::Number {
                name: number.name.to_owned(),
                at: all,
                values: number.values,
            },
        })
    }
}

/// The value at `pointer`; null where only the last step leads nowhere, as where an option is left out.
fn at<'s>(spec: &'s Value, pointer: &str) -> Option<&'s Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let parent = spec.pointer(parent)?.as_object()?;
    Some(parent.get(key).unwrap_or(&Value::Null))
}

fn config_keys(component: &Value) -> Vec<String> {
    let body = match component.as_object() {
        Some(fields) if fields.len() == 1 => fields.values().next(),
        _ => Some(component),
    };
    let keys = body.and_then(|body| body.get("config_keys"));
    let keys = keys.and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| Some(key.as_str()?.to_owned()))
        .collect()
}

fn places(spec: &Value, component: &str) -> Vec<Place> {
    let (layer, kind) = match component.strip_prefix("blocks.") {
        Some(rest) => {
            let (layer, kind) = rest.split_once('.').unwrap_or((rest, ""));
            (format!("/layers/{layer}"), kind)
        }
        None => (String::new(), component),
    };
    let place = |rest, numbers| Place {
        block: layer.clone(),
        rest,
        numbers,
    };
    let ln1 = || place("/attn/input/norm", NORM);
    let ln2 = || place("/mlp/input/norm", NORM);
    // What an expert is a part of is the body.
    let kind = if kind.starts_with("mlp.") {
        "mlp"
    } else {
        kind
    };
    let all = match kind {
        "attn" => vec![
            place("/attn/body", ATTENTION),
            place("/attn", BRANCH),
            place("/attn/body/qk_norm/q/norm", NORM),
            ln1(),
        ],
        "attn.q_norm" => vec![place("/attn/body/qk_norm/q/norm", NORM)],
        "attn.k_norm" => vec![place("/attn/body/qk_norm/k/norm", NORM)],
        "mlp" => vec![place("/mlp/body", MOE), place("/mlp", BRANCH), ln2()],
        "ln1" => vec![ln1()],
        "ln1_post" => vec![place("/attn/output_norm", NORM)],
        "ln1_sum" => vec![place("/attn/sum_norm", NORM)],
        "ln2" => vec![ln2()],
        "ln2_post" => vec![place("/mlp/output_norm", NORM)],
        "ln2_sum" => vec![place("/mlp/sum_norm", NORM)],
        "" => vec![place("/attn", BRANCH), place("/mlp", BRANCH)],
        "ln_final" => vec![place("/final_norm", NORM)],
        "embed.ln" => vec![place("/embedding/norm", NORM)],
        "embed" => vec![place("/embedding", EMBEDDING)],
        "unembed" => vec![place("/unembed", UNEMBED), place("/final_norm", NORM)],
        _ => Vec::new(),
    };
    let is_there = |place: &Place| {
        let component = spec.pointer(&format!("{}{}", place.block, place.rest));
        component.is_some_and(Value::is_object)
    };
    all.into_iter().filter(is_there).collect()
}
