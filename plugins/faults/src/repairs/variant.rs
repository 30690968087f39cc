//! Other values of one part of a spec.

use tlbench_sdk::{ModelSpec, Remedy, Repair, Symptom};

/// Another value of one part, and why.
pub(super) struct Variant<P> {
    fault: &'static str,
    finding: String,
    part: P,
}

/// Other values of `part`, none of them twice.
pub(super) struct Variants<'a, P> {
    part: &'a P,
    list: Vec<Variant<P>>,
}

impl<'a, P: Clone + PartialEq> Variants<'a, P> {
    pub(super) fn of(part: &'a P) -> Self {
        Self {
            part,
            list: Vec::new(),
        }
    }

    pub(super) fn part(&self) -> &'a P {
        self.part
    }

    /// Adds what `edit` makes of the part, if that is anything new.
    pub(super) fn push(
        &mut self,
        fault: &'static str,
        finding: impl Into<String>,
        edit: impl FnOnce(&mut P),
    ) {
        let mut part = self.part.clone();
        edit(&mut part);
        let is_known = part == *self.part || self.list.iter().any(|known| known.part == part);
        if !is_known {
            let finding = finding.into();
            self.list.push(Variant {
                fault,
                finding,
                part,
            });
        }
    }

    pub(super) fn done(self) -> Vec<Variant<P>> {
        self.list
    }
}

/// Where parts of one kind are in a spec.
pub(super) trait Parts<P> {
    /// The parts of one kind, by the component that each is.
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut P)>;

    /// What else one of them may be.
    fn variants(&self, symptom: &Symptom, component: &str, part: &P) -> Vec<Variant<P>>;

    /// Where to look for the value of one.
    fn look_at(&self, part: &P) -> String;
}

/// A repair for each other value of the part that is `component`. What is wrong with it is often wrong with others of its
/// kind: where the same can be said of one of those, it is changed as well.
pub(super) fn repairs_of<P: Clone + PartialEq>(
    kind: &impl Parts<P>,
    symptom: &Symptom,
    component: &str,
) -> Vec<Repair> {
    let mut spec = symptom.spec.clone();
    let parts: Vec<(String, P)> = kind
        .parts(&mut spec)
        .into_iter()
        .map(|(name, part)| (name, part.clone()))
        .collect();
    let variants: Vec<Vec<Variant<P>>> = parts
        .iter()
        .map(|(name, part)| kind.variants(symptom, name, part))
        .collect();
    let Some(at) = parts.iter().position(|(name, _)| name == component) else {
        return Vec::new();
    };
    let look_at = kind.look_at(&parts[at].1);
    let repair = |wanted: &Variant<P>| {
        let mut spec = symptom.spec.clone();
        for ((_, part), variants) in kind.parts(&mut spec).into_iter().zip(&variants) {
            let is_same = |one: &&Variant<P>| {
                (one.fault, one.finding.as_str()) == (wanted.fault, wanted.finding.as_str())
            };
            if let Some(same) = variants.iter().find(is_same) {
                *part = same.part.clone();
            }
        }
        if let Some((_, part)) = kind.parts(&mut spec).into_iter().nth(at) {
            *part = wanted.part.clone();
        }
        Repair {
            fault: wanted.fault.to_owned(),
            look_at: look_at.clone(),
            remedy: Remedy::Spec {
                finding: wanted.finding.clone(),
                spec: Box::new(spec),
            },
        }
    };
    variants[at].iter().map(repair).collect()
}

/// Config keys as a place to look at, or else the adapter.
pub(super) fn keys(config_keys: &[String]) -> String {
    match config_keys {
        [] => "what the adapter says of this component".to_owned(),
        keys => keys.join(", "),
    }
}
