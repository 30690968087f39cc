//! From a wrong value back to the values before it that are known to be right.

use std::collections::BTreeMap;

use tlbench_sdk::spec::ModelSpec;
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS};

use super::operation::{At, Operation, operation_of};

/// What lies between values that are right and one that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    /// The operations in order; the last makes the wrong value. More than one where nobody shows what is in between.
    pub(crate) operations: Vec<Operation>,
    /// The values that go in, and which of their positions do.
    pub(crate) inputs: BTreeMap<String, At>,
}

impl Path {
    /// To the value at `hook`, from the values that `is_known`; `None` for a hook that the spec does not have.
    pub(crate) fn to(
        spec: &ModelSpec,
        hook: &str,
        is_known: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let mut search = Search {
            spec,
            is_known,
            passed: BTreeMap::new(),
            path: Self {
                operations: Vec::new(),
                inputs: BTreeMap::new(),
            },
        };
        search.make(hook, At::Same)?;
        Some(search.path)
    }
}

struct Search<'a, F> {
    spec: &'a ModelSpec,
    is_known: F,
    /// What was looked at already, and which of its positions.
    passed: BTreeMap<String, At>,
    path: Path,
}

impl<F: Fn(&str) -> bool> Search<'_, F> {
    fn read(&mut self, name: &str, at: At) -> Option<()> {
        let is_input = [INPUT_IDS, POSITION_IDS, ATTENTION_MASK].contains(&name);
        if !is_input && !(self.is_known)(name) {
            return self.make(name, at);
        }
        let known = self.path.inputs.entry(name.to_owned()).or_insert(at);
        *known = at.max(*known);
        Some(())
    }

    /// Adds the operation that makes `name`, behind those that make what it reads.
    fn make(&mut self, name: &str, at: At) -> Option<()> {
        if self.passed.get(name).is_some_and(|passed| *passed >= at) {
            return Some(());
        }
        self.passed.insert(name.to_owned(), at);
        let operation = operation_of(self.spec, name)?;
        for read in &operation.reads {
            self.read(&read.name, at.max(read.at))?;
        }
        if !self.path.operations.contains(&operation) {
            self.path.operations.push(operation);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::tests::spec;
    use super::*;

    fn told(path: &Path) -> (Vec<&str>, Vec<(&str, At)>) {
        let operations = path.operations.iter();
        let inputs = path.inputs.iter();
        (
            operations.map(|one| one.result.as_str()).collect(),
            inputs.map(|(name, at)| (name.as_str(), *at)).collect(),
        )
    }

    #[test]
    fn it_begins_at_the_nearest_values_that_are_known() {
        let path = Path::to(&spec(), "blocks.2.attn.hook_attn_scores", |_| true).unwrap();
        let expected = vec![
            ("attention_mask", At::Keys),
            ("blocks.2.attn.hook_k", At::Keys),
            ("blocks.2.attn.hook_q", At::Same),
        ];
        assert_eq!(
            told(&path),
            (vec!["blocks.2.attn.hook_attn_scores"], expected)
        );
    }

    #[test]
    fn it_goes_through_what_nobody_shows_and_reads_all_that_is_seen_there() {
        let is_known = |name: &str| name == "blocks.2.hook_resid_pre";
        let path = Path::to(&spec(), "blocks.2.attn.hook_z", is_known).unwrap();
        let (operations, inputs) = told(&path);
        assert_eq!(operations.last(), Some(&"blocks.2.attn.hook_z"));
        assert_eq!(operations.len(), 8);
        let expected = [
            ("attention_mask", At::Keys),
            ("blocks.2.hook_resid_pre", At::Keys),
        ];
        assert_eq!(inputs, expected);
    }

    #[test]
    fn there_is_none_to_a_hook_that_the_spec_does_not_have() {
        assert_eq!(Path::to(&spec(), "blocks.7.hook_resid_pre", |_| true), None);
        assert_eq!(Path::to(&spec(), "hook_nothing", |_| true), None);
    }
}
