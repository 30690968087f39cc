//! How the branches of a block are joined.

use tlbench_sdk::spec::{Branch, BranchInput, LayerSpec, NormSpec, ResidualSource, Wiring};
use tlbench_sdk::{ModelSpec, Symptom};

use super::places::layers_by_name;
use super::tensors::left_norms;
use super::variant::{Parts, Variant, Variants};

/// Every block.
pub(super) struct Layers;

impl Parts<LayerSpec> for Layers {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut LayerSpec)> {
        layers_by_name(spec)
    }

    fn variants(
        &self,
        symptom: &Symptom,
        component: &str,
        layer: &LayerSpec,
    ) -> Vec<Variant<LayerSpec>> {
        let mut variants = Variants::of(layer);
        wiring(&mut variants);
        residuals(&mut variants);
        order_of_norms(&mut variants);
        norms_left_out(&mut variants, symptom, component);
        let finding = "the output of attention is scaled where 1 fits";
        variants.push("output-scale-missing", finding, |layer| {
            layer
                .attn
                .iter_mut()
                .for_each(|attn| attn.output_scale = 1.0);
        });
        let finding = "the output of the MLP is scaled where 1 fits";
        variants.push("output-scale-missing", finding, |layer| {
            layer.mlp.iter_mut().for_each(|mlp| mlp.output_scale = 1.0);
        });
        variants.done()
    }

    fn look_at(&self, _: &LayerSpec) -> String {
        "how the adapter puts a block together".to_owned()
    }
}

fn wiring(variants: &mut Variants<'_, LayerSpec>) {
    let finding = match variants.part().wiring {
        Wiring::Sequential => "the MLP comes after attention where both read the same stream",
        Wiring::Parallel => "attention and MLP read the same stream where one after the other fits",
    };
    variants.push("wiring", finding, |layer| {
        layer.wiring = match layer.wiring {
            Wiring::Sequential => Wiring::Parallel,
            Wiring::Parallel => Wiring::Sequential,
        };
    });
}

fn residuals(variants: &mut Variants<'_, LayerSpec>) {
    fn turned<T>(branch: &mut Branch<T>) {
        branch.residual = match branch.residual {
            ResidualSource::Stream => ResidualSource::Input,
            ResidualSource::Input => ResidualSource::Stream,
        };
    }
    let of = |residual: ResidualSource| match residual {
        ResidualSource::Stream => "the stream where their normed input fits",
        ResidualSource::Input => "their normed input where the stream fits",
    };
    let layer = variants.part();
    let first = layer.attn.as_ref().map(|attn| attn.residual);
    let first = first.or(layer.mlp.as_ref().map(|mlp| mlp.residual));
    let what = of(first.unwrap_or_default());
    variants.push(
        "residual-source",
        format!("branches are added to {what}"),
        |layer| {
            layer.attn.iter_mut().for_each(turned);
            layer.mlp.iter_mut().for_each(turned);
        },
    );
}

fn order_of_norms(variants: &mut Variants<'_, LayerSpec>) {
    let finding = "the norms before attention and before the MLP are in each other's place";
    variants.push("norms-exchanged", finding, |layer| {
        let attn = layer.attn.as_mut().map(|branch| &mut branch.input);
        let mlp = layer.mlp.as_mut().map(|branch| &mut branch.input);
        if let (Some(BranchInput::Norm(first)), Some(BranchInput::Norm(second))) = (attn, mlp) {
            std::mem::swap(first, second);
        }
    });
    fn turned<T>(branch: &mut Branch<T>) {
        if let (BranchInput::Norm(before), Some(after)) =
            (&mut branch.input, &mut branch.output_norm)
        {
            std::mem::swap(before, after);
        }
    }
    let finding = "the norms before and after each branch are in each other's place";
    variants.push("norm-pre-for-post", finding, |layer| {
        layer.attn.iter_mut().for_each(turned);
        layer.mlp.iter_mut().for_each(turned);
    });
}

/// Norms that the checkpoint has, at each place where there is none.
fn norms_left_out(variants: &mut Variants<'_, LayerSpec>, symptom: &Symptom, component: &str) {
    for norm in templates(symptom, component) {
        let stem = norm.module.clone().unwrap_or_default();
        type Place = (&'static str, &'static str, fn(&mut LayerSpec, NormSpec));
        let places: [Place; 4] = [
            ("norm-before-missing", "before attention", |layer, norm| {
                layer
                    .attn
                    .iter_mut()
                    .for_each(|attn| before(&mut attn.input, &norm));
            }),
            ("norm-before-missing", "before the MLP", |layer, norm| {
                layer
                    .mlp
                    .iter_mut()
                    .for_each(|mlp| before(&mut mlp.input, &norm));
            }),
            ("norm-after-missing", "after attention", |layer, norm| {
                layer
                    .attn
                    .iter_mut()
                    .for_each(|attn| after(&mut attn.output_norm, &norm));
            }),
            ("norm-after-missing", "after the MLP", |layer, norm| {
                layer
                    .mlp
                    .iter_mut()
                    .for_each(|mlp| after(&mut mlp.output_norm, &norm));
            }),
        ];
        for (fault, place, edit) in places {
            let finding = format!("there is no norm {place} where `{stem}` fits");
            variants.push(fault, finding, |layer| edit(layer, norm.clone()));
        }
    }
}

fn before(input: &mut BranchInput, norm: &NormSpec) {
    if !matches!(input, BranchInput::Norm(_)) {
        *input = BranchInput::Norm(norm.clone());
    }
}

fn after(output: &mut Option<NormSpec>, norm: &NormSpec) {
    output.get_or_insert_with(|| norm.clone());
}

/// Norms of the stream near `component` that nobody takes, each like another norm of the model.
pub(super) fn templates(symptom: &Symptom, component: &str) -> Vec<NormSpec> {
    let left = left_norms(symptom, component, symptom.spec.d_model);
    let norms = left.into_iter();
    norms.map(|norm| norm.like_others(&symptom.spec)).collect()
}
