//! Numbers that no other model has: a diagnosis has to search for the right one. Whether the suite notices a wrong number
//! is for others to say.

use tlbench_sdk::spec::Mask;
use tlbench_sdk::{Feature, ModelSpec, Runs};

use crate::parts::{attentions, norms, rotaries};
use crate::zoo::{Entry, Make};

const fn fault(
    feature: Feature,
    id: &'static str,
    description: &'static str,
    edit: fn(&mut ModelSpec),
) -> Entry {
    Entry::new(feature, id, description, Make::Spec(Runs::All, edit)).for_diagnosis()
}

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        Feature::Norm,
        "odd-eps",
        "an epsilon of three times the right one",
        |spec| norms(spec).for_each(|norm| norm.eps *= 3.0),
    )
    .shown_by("rows of small norm"),
    fault(
        Feature::Rotary,
        "odd-theta",
        "wavelengths of a base that is a tenth too small",
        |spec| rotaries(spec).for_each(|rotary| rotary.theta *= 0.9),
    ),
    fault(
        Feature::Attention,
        "odd-scale",
        "scores that are an eighth too large",
        |spec| attentions(spec).for_each(|attention| attention.scale *= 1.125),
    ),
    fault(
        Feature::Attention,
        "odd-window",
        "a sliding window that shows two keys too many",
        |spec| {
            for attention in attentions(spec) {
                if let Mask::Band {
                    back: Some(back), ..
                } = &mut attention.mask
                {
                    *back += 2;
                }
            }
        },
    )
    .shown_by("more tokens than the window"),
    fault(
        Feature::Attention,
        "odd-softcap",
        "a softcap of the scores that is a fifth too small",
        |spec| {
            attentions(spec)
                .for_each(|attention| attention.softcap = attention.softcap.map(|cap| cap * 0.8));
        },
    )
    .shown_by("scores as large as the cap"),
    fault(
        Feature::Embedding,
        "odd-embed-scale",
        "an embedding that is scaled by a tenth too much",
        |spec| {
            if let Some(scale) = &mut spec.embedding.scale {
                scale.value *= 1.1;
            }
        },
    ),
];
