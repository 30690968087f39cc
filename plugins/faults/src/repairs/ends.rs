//! The two ends of the stream.

use half::bf16;
use tlbench_sdk::spec::{EmbeddingScale, EmbeddingSpec, NormSpec, PositionTable, UnembedSpec};
use tlbench_sdk::{ModelSpec, Symptom};

use super::layer::templates;
use super::tensors::left_tables;
use super::variant::{Parts, Variant, Variants, keys};

/// What makes the stream, its norm and learned positions included.
pub(super) struct Embedding;

impl Parts<EmbeddingSpec> for Embedding {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut EmbeddingSpec)> {
        vec![("embed".to_owned(), &mut spec.embedding)]
    }

    fn variants(
        &self,
        symptom: &Symptom,
        _: &str,
        embedding: &EmbeddingSpec,
    ) -> Vec<Variant<EmbeddingSpec>> {
        let mut variants = Variants::of(embedding);
        scale(&mut variants, symptom.spec.d_model);
        positions(&mut variants, symptom);
        let finding = "the embedding is normed where it fits as it is";
        variants.push("embed-norm-missing", finding, |embedding| {
            embedding.norm = None
        });
        for norm in templates(symptom, "") {
            let stem = norm.module.clone().unwrap_or_default();
            let finding = format!("the embedding is not normed where `{stem}` fits");
            variants.push("embed-norm-missing", finding, |embedding| {
                embedding.norm.get_or_insert(norm);
            });
        }
        variants.done()
    }

    fn look_at(&self, embedding: &EmbeddingSpec) -> String {
        keys(&embedding.config_keys)
    }
}

fn scale(variants: &mut Variants<'_, EmbeddingSpec>, d_model: usize) {
    let root = (d_model as f64).sqrt();
    let found = variants.part().scale.as_ref();
    let is_rounded = found.is_some_and(|scale| scale.rounded_to_weights);
    let exact = |value| EmbeddingScale {
        value,
        rounded_to_weights: is_rounded,
    };
    let rounded = EmbeddingScale {
        value: root,
        rounded_to_weights: true,
    };
    let usual = [
        (Some(rounded), "sqrt(d_model), rounded as the weights are,"),
        (Some(exact(root)), "sqrt(d_model)"),
        (None, "1"),
        (
            Some(exact(bf16::from_f64(root).to_f64())),
            "sqrt(d_model), rounded to bf16,",
        ),
    ];
    let found = match &variants.part().scale {
        None => "1".to_owned(),
        Some(scale) => scale.value.to_string(),
    };
    for (scale, name) in usual {
        let fault = match variants.part().scale {
            None => "embed-scale-missing",
            Some(_) => "embed-scale-rounded",
        };
        let finding = format!("the embedding is multiplied by {found} where {name} fits");
        variants.push(fault, finding, |embedding| embedding.scale = scale);
    }
}

fn positions(variants: &mut Variants<'_, EmbeddingSpec>, symptom: &Symptom) {
    let found = variants.part().positions.as_ref().map(|table| table.offset);
    for offset in 0..=2 {
        let finding = format!(
            "learned positions begin at row {} where {offset} fits",
            found.unwrap_or_default()
        );
        variants.push("position-table-offset", finding, |embedding| {
            if let Some(positions) = &mut embedding.positions {
                positions.offset = offset;
            }
        });
    }
    let finding = "there are learned positions where none fit";
    variants.push("position-table-missing", finding, |embedding| {
        embedding.positions = None;
    });
    let d_model = symptom.spec.d_model;
    for table in left_tables(
        symptom,
        |shape| matches!(shape, &[_, width] if width == d_model),
    ) {
        let name = table.names.join(", ");
        let finding = format!("there are no learned positions where `{name}` fits");
        variants.push("position-table-missing", finding, |embedding| {
            embedding.positions.get_or_insert(PositionTable {
                table,
                offset: 0,
                module: None,
                config_keys: Vec::new(),
            });
        });
    }
}

/// From the stream to logits.
pub(super) struct Unembedding;

impl Parts<UnembedSpec> for Unembedding {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut UnembedSpec)> {
        vec![("unembed".to_owned(), &mut spec.unembed)]
    }

    fn variants(
        &self,
        symptom: &Symptom,
        _: &str,
        unembed: &UnembedSpec,
    ) -> Vec<Variant<UnembedSpec>> {
        let mut variants = Variants::of(unembed);
        heads(&mut variants, symptom);
        for cap in [None, Some(30.0), Some(50.0)] {
            let text = |cap: Option<f64>| cap.map_or("none".to_owned(), |cap| cap.to_string());
            let finding = format!(
                "the softcap of the logits is {} where {} fits",
                text(unembed.softcap),
                text(cap)
            );
            variants.push("final-softcap-missing", finding, |unembed| {
                unembed.softcap = cap;
            });
        }
        let finding = format!(
            "logits are multiplied by {} where 1 fits",
            unembed.logit_scale
        );
        variants.push("logit-scale-missing", finding, |unembed| {
            unembed.logit_scale = 1.0;
        });
        variants.done()
    }

    fn look_at(&self, unembed: &UnembedSpec) -> String {
        keys(&unembed.config_keys)
    }
}

fn heads(variants: &mut Variants<'_, UnembedSpec>, symptom: &Symptom) {
    let tokens = symptom.spec.embedding.tokens.clone();
    let weight = &variants.part().projection.weight;
    let (same, shape) = (weight.cut_shape() == tokens.cut_shape(), weight.cut_shape());
    if same {
        let finding = "the unembedding is one of its own where the token embedding fits";
        variants.push("head-tied", finding, |unembed| {
            if unembed.projection.weight.names.first() != tokens.names.first() {
                unembed.projection.weight = tokens;
            }
        });
    }
    for table in left_tables(symptom, |of| shape.as_ref().is_ok_and(|shape| shape == of)) {
        let name = table.names.join(", ");
        let finding = format!("another unembedding is taken where `{name}` fits");
        variants.push("head-tied", finding, |unembed| {
            unembed.projection.weight = table
        });
    }
    let rows = symptom.spec.unembed.d_vocab_out;
    for bias in left_tables(symptom, |shape| *shape == [rows]) {
        let name = bias.names.join(", ");
        let finding = format!("`{name}` is left out where it fits");
        variants.push("head-bias-dropped", finding, |unembed| {
            unembed.projection.bias.get_or_insert(bias);
        });
    }
    let finding = "there is a bias of the unembedding where none fits";
    variants.push("head-bias-dropped", finding, |unembed| {
        unembed.projection.bias = None;
    });
}

/// The last norm, or that there is none.
pub(super) struct FinalNorm;

impl Parts<Option<NormSpec>> for FinalNorm {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut Option<NormSpec>)> {
        vec![("ln_final".to_owned(), &mut spec.final_norm)]
    }

    fn variants(
        &self,
        symptom: &Symptom,
        _: &str,
        norm: &Option<NormSpec>,
    ) -> Vec<Variant<Option<NormSpec>>> {
        let mut variants = Variants::of(norm);
        let finding = "there is a norm before the unembedding where none fits";
        variants.push("final-norm-missing", finding, |norm| *norm = None);
        for left in templates(symptom, "") {
            let stem = left.module.clone().unwrap_or_default();
            let finding = format!("there is no norm before the unembedding where `{stem}` fits");
            variants.push("final-norm-missing", finding, |norm| {
                norm.get_or_insert(left);
            });
        }
        variants.done()
    }

    fn look_at(&self, norm: &Option<NormSpec>) -> String {
        norm.as_ref()
            .map_or_else(|| keys(&[]), |norm| keys(&norm.config_keys))
    }
}
