//! The order in which the checks of a large model take the least time and memory.

use tlbench_sdk::{Check, GradientRequest, PlannedRequest, Processing, Role, TensorMap};

/// What the checks of a mode are about, each kind in the order in which it comes up.
pub(super) struct Order {
    weights: Vec<Processing>,
    ways_back: Vec<WayBack>,
}

/// On which input something is differentiated, and what.
type WayBack = (TensorMap, GradientRequest);

/// What a check takes, in the order in which checks about the same weights come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Means {
    /// The subject alone: the reference, which is asked ahead, answers the questions of others meanwhile.
    Subject,
    Reference,
    /// They take the most memory, and so come when nobody waits for other answers any more.
    Gradients,
}

impl Order {
    /// That of `checks`, in a mode in which weights are processed as `of_mode` says.
    pub(super) fn of<'c>(checks: impl Iterator<Item = &'c Check>, of_mode: &Processing) -> Self {
        let mut weights = vec![of_mode.clone()];
        let mut ways_back = Vec::new();
        for check in checks {
            note(&mut weights, processing(check));
            note(&mut ways_back, way_back(check));
        }
        Self { weights, ways_back }
    }

    /// By what `check` is sorted. Checks about the same weights follow each other, those of the mode itself first: whoever
    /// answers keeps the weights that it processed last. So do those of the same pass back, of which it keeps the last one.
    pub(super) fn place(&self, check: &Check) -> impl Ord + use<> {
        let weights = processing(check).and_then(|one| place(&self.weights, &one));
        let way_back = way_back(check).and_then(|one| place(&self.ways_back, &one));
        (weights.unwrap_or_default(), Means::of(check), way_back)
    }
}

fn note<T: PartialEq>(known: &mut Vec<T>, one: Option<T>) {
    known.extend(one.filter(|one| !known.contains(one)));
}

fn place<T: PartialEq>(known: &[T], one: &T) -> Option<usize> {
    known.iter().position(|known| known == one)
}

/// How the weights are processed that `check` is about; beside others, it may ask for those that are not.
fn processing(check: &Check) -> Option<Processing> {
    let asked = check.requests.iter().map(|asked| &asked.request.processing);
    let mut processed = asked.filter(|processing| !processing.is_raw());
    processed.next().cloned()
}

impl Means {
    fn of(check: &Check) -> Self {
        let is_reference = |asked: &PlannedRequest| asked.role == Role::Reference;
        if way_back(check).is_some() {
            Self::Gradients
        } else if check.requests.iter().any(is_reference) {
            Self::Reference
        } else {
            Self::Subject
        }
    }
}

fn way_back(check: &Check) -> Option<WayBack> {
    let mut requests = check.requests.iter().map(|asked| &asked.request);
    requests.find_map(|request| Some((request.inputs.clone(), request.gradients.clone()?)))
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::{INPUT_IDS, Objective, ProcessingStep, Tensor, TraceRequest};

    use super::*;

    fn about(token: i64) -> TraceRequest {
        let inputs = [(INPUT_IDS.to_owned(), Tensor::vector(vec![token]))].into();
        TraceRequest::new(inputs, Vec::new())
    }

    fn differentiated(token: i64) -> TraceRequest {
        TraceRequest {
            gradients: Some(GradientRequest {
                objective: Objective::Loss,
            }),
            ..about(token)
        }
    }

    fn check(variant: &str, requests: Vec<PlannedRequest>) -> Check {
        Check {
            variant: variant.to_owned(),
            requests,
        }
    }

    #[test]
    fn by_weights_then_by_who_is_asked_then_by_the_way_back() {
        let folded = Processing::from_iter([ProcessingStep::FoldLn]);
        let centred = Processing::from_iter([ProcessingStep::CenterUnembed]);
        let (subject, reference) = (PlannedRequest::subject, PlannedRequest::reference);
        let mut checks = vec![
            check(
                "back_1",
                vec![reference(differentiated(1).processed(folded.clone()))],
            ),
            check(
                "back_2",
                vec![reference(differentiated(2).processed(folded.clone()))],
            ),
            check(
                "centred",
                vec![subject(about(1).processed(centred.clone()))],
            ),
            check(
                "compared",
                vec![
                    subject(about(1)),
                    reference(about(1).processed(folded.clone())),
                ],
            ),
            check(
                "back_1_again",
                vec![subject(differentiated(1).processed(folded.clone()))],
            ),
            check(
                "alone",
                vec![
                    subject(about(1)),
                    subject(about(1).processed(folded.clone())),
                ],
            ),
            check("raw", vec![subject(about(1))]),
        ];
        let known = checks.clone();
        let order = Order::of(known.iter(), &folded);
        checks.sort_by_key(|check| order.place(check));
        let sorted: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
        assert_eq!(
            sorted,
            [
                "alone",
                "raw",
                "compared",
                "back_1",
                "back_1_again",
                "back_2",
                "centred"
            ]
        );
    }
}
