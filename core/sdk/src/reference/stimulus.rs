//! What holds for the inputs that a reference holds answers for.

use std::collections::BTreeSet;

use super::{SourceInfo, Stimulus};
use crate::id::{IdError, check_id};
use crate::tensor::DType;
use crate::trace::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS};

/// An input on which nothing can be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StimulusError {
    /// A name that is no id.
    #[error("an input of the name {0}")]
    Id(IdError),
    /// Two of one name.
    #[error("two inputs of the name `{id}`")]
    Twice {
        /// Their name.
        id: String,
    },
    /// A tensor that is missing, or that the others do not fit.
    #[error("input `{id}`: {name}: expected {expected}, found {found}")]
    Input {
        /// The input's name.
        id: String,
        /// The tensor.
        name: &'static str,
        /// In words.
        expected: String,
        /// In words.
        found: String,
    },
    /// Nothing is shown on it: whatever the subject does there would pass.
    #[error("input `{id}`: shows nothing")]
    ShowsNothing {
        /// The input's name.
        id: String,
    },
}

impl SourceInfo {
    /// Checks the inputs: each has a name of its own, and shows something on tokens.
    ///
    /// It runs before a source leaves a plugin, and again where it arrives.
    ///
    /// # Errors
    /// Names the first input that breaks a rule.
    pub fn check(&self) -> Result<(), StimulusError> {
        let mut ids = BTreeSet::new();
        for stimulus in &self.stimuli {
            stimulus.check()?;
            if !ids.insert(&stimulus.id) {
                let id = stimulus.id.clone();
                return Err(StimulusError::Twice { id });
            }
        }
        Ok(())
    }
}

impl Stimulus {
    fn check(&self) -> Result<(), StimulusError> {
        check_id(&self.id).map_err(StimulusError::Id)?;
        let ids = "i64 [batch, pos] with at least one token";
        let shape = self.input(
            INPUT_IDS,
            ids,
            |shape| matches!(shape, &[batch, pos] if batch > 0 && pos > 0),
        )?;
        for name in [ATTENTION_MASK, POSITION_IDS] {
            self.input(name, &format!("i64 {shape:?}"), |found| found == shape)?;
        }
        let mask = self
            .request
            .inputs
            .get(ATTENTION_MASK)
            .and_then(|mask| mask.as_slice::<i64>());
        let is_token = |value: &i64| *value != 0;
        let mask = mask.unwrap_or_default();
        if !mask.iter().any(is_token) {
            return Err(self.unfit(ATTENTION_MASK, "at least one token", "padding alone".into()));
        }
        let mut rows = mask.chunks(shape.last().copied().unwrap_or(1).max(1));
        if self.request.generate.is_some() && !rows.all(|row| row.iter().any(is_token)) {
            let expected = "a token in each row, for generation to follow";
            return Err(self.unfit(ATTENTION_MASK, expected, "a row of padding alone".into()));
        }
        if self.request.capture.is_empty() {
            let id = self.id.clone();
            return Err(StimulusError::ShowsNothing { id });
        }
        Ok(())
    }

    /// The shape of the tensor `name`, which holds integers.
    fn input(
        &self,
        name: &'static str,
        expected: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<&[usize], StimulusError> {
        match self.request.inputs.get(name) {
            None => Err(self.unfit(name, expected, "nothing".into())),
            Some(tensor) if tensor.dtype() == DType::I64 && fits(tensor.shape()) => {
                Ok(tensor.shape())
            }
            Some(tensor) => {
                let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
                Err(self.unfit(name, expected, found))
            }
        }
    }

    fn unfit(&self, name: &'static str, expected: &str, found: String) -> StimulusError {
        StimulusError::Input {
            id: self.id.clone(),
            name,
            expected: expected.to_owned(),
            found,
        }
    }
}
