//! From the config of a model to that of its twin.

use serde_json::{Map, Value};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{Adapted, ModelSpec};

use super::contexts::thin_factors;
use super::features::Features;
use super::layers;
use super::sizes::{Size, Sizes};

/// Where a key is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the config has a number; elsewhere its value follows from other keys.
    Given,
    /// Unless the config has a `null`, which stands for what another key says.
    NotNull,
    /// Wherever the adapter asks for it, as HF's default is large or makes two sizes the same.
    Read,
}

/// HF's names for sizes.
const KEYS: &[(&[&str], Size, Place)] = &[
    (&["vocab_size"], Size::Vocabulary, Place::Read),
    (
        &["hidden_size", "n_embd", "n_embed"],
        Size::Width,
        Place::Read,
    ),
    (&["num_hidden_layers", "n_layer"], Size::Layers, Place::Read),
    (&["num_attention_heads", "n_head"], Size::Heads, Place::Read),
    (&["num_key_value_heads"], Size::KeyHeads, Place::NotNull),
    (&["head_dim"], Size::HeadWidth, Place::Read),
    (&["query_pre_attn_scalar"], Size::QueryScalar, Place::Read),
    (&["intermediate_size"], Size::MlpWidth, Place::Read),
    (&["n_inner"], Size::MlpWidth, Place::Given),
    (&["moe_intermediate_size"], Size::ExpertWidth, Place::Read),
    (
        &["shared_expert_intermediate_size"],
        Size::SharedExpertWidth,
        Place::Read,
    ),
    (
        &["num_experts", "num_local_experts"],
        Size::Experts,
        Place::Read,
    ),
    (
        &[
            "max_position_embeddings",
            "n_positions",
            "n_ctx",
            "seq_length",
        ],
        Size::Context,
        Place::Read,
    ),
    (&["sliding_window"], Size::Window, Place::Given),
];

/// Whether a twin's heads have a width of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadWidth {
    /// As the model's config has it. Many ports of a model without the key do not read it.
    AsInModel,
    /// Wherever the adapter asks for the key: no matrix is square then.
    Own,
}

impl HeadWidth {
    fn is_free(self, config: &Map<String, Value>, adapted: &Adapted) -> bool {
        let key = "head_dim";
        let attentions = adapted
            .spec
            .layers
            .iter()
            .filter_map(|layer| layer.attn.as_ref());
        let mut attentions = attentions.map(|branch| &branch.body);
        // HF's default may be a number as well.
        let is_own = attentions
            .any(|attention| attention.n_heads * attention.d_head != adapted.spec.d_model);
        let is_given = config.get(key).is_some_and(Value::is_number);
        adapted.keys_read.contains(key) && (self == Self::Own || is_given || is_own)
    }
}

/// What a twin is made from.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Its `config.json`.
    pub config: Map<String, Value>,
    /// The layers of the model that it has.
    pub layers: Vec<usize>,
}

impl Shrunk {
    /// That of the model of which `adapted` was made.
    pub fn of(config: &Map<String, Value>, adapted: &Adapted, heads: HeadWidth) -> Self {
        let spec = &adapted.spec;
        let kept = layers::chosen(&Features::of(spec).layers);
        let is_free = heads.is_free(config, adapted);
        let sizes = Sizes::of(spec, kept.len(), is_free);
        let mut config = config.clone();
        layers::keep(&mut config, spec.layers.len(), &kept);
        for &(names, size, place) in KEYS {
            let place = match size {
                Size::Window if has_windows(spec) => Place::Read,
                Size::HeadWidth if !is_free => Place::Given,
                _ => place,
            };
            for name in spellings(&config, adapted, names, place) {
                config.insert(name.to_owned(), sizes.get(size).into());
            }
        }
        thin_factors(&mut config, sizes.rotated / 2);
        sizes.contexts.write_trained(&mut config);
        keep_tokens(&mut config, sizes.get(Size::Vocabulary));
        Self {
            config,
            layers: kept,
        }
    }
}

/// Those of `names` under which the config has a number, or else the one to write.
fn spellings<'a>(
    config: &Map<String, Value>,
    adapted: &Adapted,
    names: &'a [&'a str],
    place: Place,
) -> Vec<&'a str> {
    let has = |test: fn(&Value) -> bool| move |name: &&&str| config.get(**name).is_some_and(test);
    let given: Vec<&str> = names
        .iter()
        .filter(has(Value::is_number))
        .copied()
        .collect();
    let is_null = names.iter().any(|name| has(Value::is_null)(&name));
    if !given.is_empty() || place == Place::Given || (place == Place::NotNull && is_null) {
        return given;
    }
    let read = |name: &&&str| adapted.keys_read.contains(**name);
    names.iter().find(read).copied().into_iter().collect()
}

fn has_windows(spec: &ModelSpec) -> bool {
    let attentions = spec.layers.iter().filter_map(|layer| layer.attn.as_ref());
    attentions
        .into_iter()
        .any(|branch| matches!(branch.body.mask, Mask::Band { back: Some(_), .. }))
}

/// Moves tokens beyond the vocabulary to its end, in the order that they have.
fn keep_tokens(config: &mut Map<String, Value>, d_vocab: usize) {
    let mut beyond = Vec::new();
    on_tokens(config, |token| {
        beyond.extend(token.as_u64().filter(|&token| token >= d_vocab as u64));
    });
    beyond.sort_unstable();
    beyond.dedup();
    on_tokens(config, |token| {
        let rank = beyond
            .iter()
            .position(|&other| token.as_u64() == Some(other));
        if let Some(rank) = rank {
            *token = (d_vocab - beyond.len().min(d_vocab) + rank).into();
        }
    });
}

/// Calls `edit` with every token that a key of `config` names.
fn on_tokens(config: &mut Map<String, Value>, mut edit: impl FnMut(&mut Value)) {
    for (key, value) in config {
        match value {
            _ if !key.ends_with("_token_id") => {}
            Value::Array(tokens) => tokens.iter_mut().for_each(&mut edit),
            token => edit(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_stay_within_the_vocabulary_and_apart() {
        let config = json!({
            "bos_token_id": 128_000,
            "eos_token_id": [128_009, 128_001, 2],
            "pad_token_id": null,
            "tokens": 128_000,
        });
        let mut config = config.as_object().cloned().unwrap();
        keep_tokens(&mut config, 263);
        let expected = json!({
            "bos_token_id": 260,
            "eos_token_id": [262, 261, 2],
            "pad_token_id": null,
            "tokens": 128_000,
        });
        assert_eq!(Value::Object(config), expected);
    }
}
