//! The rules that a component's fields are held to.

use std::fmt::Display;

use super::SpecError;
use crate::excerpt::{excerpt, shortened};
use crate::spec::walk::join;
use crate::spec::{Cut, HfTap, NormSpec, Port, ProjectionSpec, TapStep, TensorSource};

/// The largest size of anything: indices are 32 bits wide, and no product of two sizes overflows.
const LARGEST: usize = u32::MAX as usize;

/// The most dimensions that a stored tensor has.
const MOST_DIMENSIONS: usize = 8;

/// The most bytes that a tensor can take: more cannot be addressed.
const MOST_BYTES: usize = isize::MAX as usize;

/// What a number has to be.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// Neither NaN nor infinite.
    Finite,
    /// That, and not negative.
    AtLeastZero,
    /// That, and not 0.
    AboveZero,
}

impl Number {
    fn admits(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::Finite => true,
                Self::AtLeastZero => value >= 0.0,
                Self::AboveZero => value > 0.0,
            }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Finite => "a finite number",
            Self::AtLeastZero => "a finite number of at least 0",
            Self::AboveZero => "a finite number above 0",
        }
    }
}

/// A component whose fields are checked.
pub(super) struct Part<'a> {
    name: &'a str,
}

impl<'a> Part<'a> {
    pub(super) const fn new(name: &'a str) -> Self {
        Self { name }
    }

    /// Fails with what was expected and found unless `holds`.
    pub(super) fn require<E: Display, F: Display>(
        &self,
        holds: bool,
        field: &str,
        expected_and_found: impl FnOnce() -> (E, F),
    ) -> Result<(), SpecError> {
        if holds {
            return Ok(());
        }
        let (expected, found) = expected_and_found();
        Err(self.error(field, expected.to_string(), &found.to_string()))
    }

    fn error(&self, field: &str, expected: String, found: &str) -> SpecError {
        SpecError {
            component: self.name.to_owned(),
            field: field.to_owned(),
            expected,
            found: shortened(found),
        }
    }

    pub(super) fn size(&self, field: &str, size: usize) -> Result<(), SpecError> {
        self.require((1..=LARGEST).contains(&size), field, || {
            (format!("a size from 1 to {LARGEST}"), size)
        })
    }

    pub(super) fn optional_size(&self, field: &str, size: Option<usize>) -> Result<(), SpecError> {
        size.map_or(Ok(()), |size| self.size(field, size))
    }

    pub(super) fn number(&self, field: &str, value: f64, wanted: Number) -> Result<(), SpecError> {
        self.require(wanted.admits(value), field, || {
            (wanted.expected(), format!("{value:?}"))
        })
    }

    pub(super) fn optional_number(
        &self,
        field: &str,
        value: Option<f64>,
        wanted: Number,
    ) -> Result<(), SpecError> {
        value.map_or(Ok(()), |value| self.number(field, value, wanted))
    }

    pub(super) fn numbers(
        &self,
        field: &str,
        values: &[f64],
        wanted: Number,
    ) -> Result<(), SpecError> {
        values.iter().enumerate().try_for_each(|(index, &value)| {
            self.number(&format!("{field}[{index}]"), value, wanted)
        })
    }

    pub(super) fn count(
        &self,
        field: &str,
        found: usize,
        expected: usize,
    ) -> Result<(), SpecError> {
        self.require(found == expected, field, || {
            (format!("{expected} of them"), found)
        })
    }

    pub(super) fn text(&self, field: &str, text: &str) -> Result<(), SpecError> {
        let printable = !text.is_empty() && !text.chars().any(char::is_control);
        self.require(printable, field, || {
            (
                "a text, not empty and without control characters",
                excerpt(text),
            )
        })
    }

    pub(super) fn optional_text(
        &self,
        field: &str,
        text: Option<&String>,
    ) -> Result<(), SpecError> {
        text.map_or(Ok(()), |text| self.text(field, text))
    }

    pub(super) fn texts(&self, field: &str, texts: &[String]) -> Result<(), SpecError> {
        texts.iter().try_for_each(|text| self.text(field, text))
    }

    /// The shape of what `source` means.
    pub(super) fn cut_shape(
        &self,
        role: &str,
        source: &TensorSource,
    ) -> Result<Vec<usize>, SpecError> {
        self.require(!source.names.is_empty(), role, || {
            ("a name to look for in the checkpoint", "none")
        })?;
        self.texts(&format!("{role}: names"), &source.names)?;
        let shape = format!("{role}: shape");
        self.require(source.shape.len() <= MOST_DIMENSIONS, &shape, || {
            let expected = format!("at most {MOST_DIMENSIONS} dimensions");
            (expected, source.shape.len())
        })?;
        source
            .shape
            .iter()
            .try_for_each(|&size| self.size(&shape, size))?;
        let bytes = source
            .shape
            .iter()
            .try_fold(size_of::<f64>(), |bytes, &size| bytes.checked_mul(size));
        self.require(
            bytes.is_some_and(|bytes| bytes <= MOST_BYTES),
            &shape,
            || {
                (
                    "a tensor that fits into memory",
                    format!("{:?}", source.shape),
                )
            },
        )?;
        for cut in &source.cut {
            if let Cut::Add { values } = cut {
                self.numbers(&format!("{role}: cut: values"), values, Number::Finite)?;
            }
        }
        source.cut_shape().map_err(|error| {
            let expected = format!("cuts that fit shape {:?}", error.shape);
            self.error(role, expected, &format!("{:?}", error.cut))
        })
    }

    /// The whole of a component's tensor: it is cut to `expected`.
    pub(super) fn source(
        &self,
        role: &str,
        source: &TensorSource,
        expected: &[usize],
    ) -> Result<(), SpecError> {
        let found = self.cut_shape(role, source)?;
        self.require(found == expected, role, || {
            (
                format!("shape {expected:?} after its cuts"),
                format!("{found:?}"),
            )
        })
    }

    /// A linear map from `inputs` to `outputs` channels.
    pub(super) fn projection(
        &self,
        role: &str,
        projection: &ProjectionSpec,
        outputs: usize,
        inputs: usize,
    ) -> Result<(), SpecError> {
        self.source(
            &join(role, "weight"),
            &projection.weight,
            &[outputs, inputs],
        )?;
        if let Some(bias) = &projection.bias {
            self.source(&join(role, "bias"), bias, &[outputs])?;
        }
        match &projection.tap {
            Some(tap) => self.module_tap(&join(role, "tap"), tap),
            None => Ok(()),
        }
    }

    /// A norm over `width` channels.
    pub(super) fn norm(&self, role: &str, norm: &NormSpec, width: usize) -> Result<(), SpecError> {
        self.number(&join(role, "eps"), norm.eps, Number::AtLeastZero)?;
        self.number(&join(role, "gain_offset"), norm.gain_offset, Number::Finite)?;
        for (tensor, source) in [("weight", &norm.gain), ("bias", &norm.bias)] {
            if let Some(source) = source {
                self.source(&join(role, tensor), source, &[width])?;
            }
        }
        self.optional_text(&join(role, "module"), norm.module.as_ref())?;
        self.texts(&join(role, "config_keys"), &norm.config_keys)
    }

    /// What passes into a module or out of it, not within.
    pub(super) fn module_tap(&self, field: &str, tap: &HfTap) -> Result<(), SpecError> {
        let is_outside = matches!(tap.port, Port::Input | Port::Output);
        self.require(is_outside, field, || {
            ("the port input or output", format!("{:?}", tap.port))
        })?;
        self.tap(field, tap)
    }

    pub(super) fn tap(&self, field: &str, tap: &HfTap) -> Result<(), SpecError> {
        self.text(&format!("{field}: module"), &tap.module)?;
        tap.steps.iter().try_for_each(|step| {
            let makes_sense = match step {
                TapStep::Slice { start, len } => {
                    *len > 0 && start.checked_add(*len).is_some_and(|end| end <= LARGEST)
                }
                TapStep::Split { sizes } => {
                    let product = sizes
                        .iter()
                        .try_fold(1_usize, |all, &size| all.checked_mul(size));
                    !sizes.is_empty() && product.is_some_and(|all| (1..=LARGEST).contains(&all))
                }
                TapStep::Select { .. } | TapStep::Transpose { .. } => true,
            };
            self.require(makes_sense, field, || {
                ("steps that leave something", format!("{step:?}"))
            })
        })
    }
}
