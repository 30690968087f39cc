//! What a processed weight has to be, as a formula over raw ones.
//!
//! The formula says which raw weights it needs before any is there, is worked out in f64 once they are, and stands in the
//! report beside a weight that does not follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tlbench_sdk::{PluginError, Tensor};

use crate::array::Axis;
use crate::values::Values;

/// Raw canonical weights by name.
pub(crate) type Raw = BTreeMap<String, Tensor>;

/// A formula over raw canonical weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    /// The raw weight of this name.
    Raw(String),
    /// One number throughout.
    Constant(f64),
    /// Each input times the norm's gain.
    Gained(Box<Self>, String),
    /// Less the mean over an axis.
    Centred(Box<Self>, Axis),
    /// A sum.
    Sum(Box<Self>, Box<Self>),
    /// What the raw map of the second name makes of the norm's bias, the first.
    Shift(String, String),
    /// What the output map, the second, makes of the bias of the values, the first.
    Gathered(Box<Self>, Box<Self>),
}

/// How large a formula's value can be, and how many summands its longest sum has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) largest: f64,
    pub(crate) summands: usize,
}

impl Expected {
    pub(crate) fn centred(self, axis: Axis) -> Self {
        Self::Centred(Box::new(self), axis)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self::Sum(Box::new(self), Box::new(other))
    }

    /// The raw weights that it is made from.
    pub(crate) fn names(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Raw(name) => {
                names.insert(name.clone());
            }
            Self::Constant(_) => {}
            Self::Gained(of, gain) => {
                of.names(names);
                names.insert(gain.clone());
            }
            Self::Centred(of, _) => of.names(names),
            Self::Sum(a, b) | Self::Gathered(a, b) => {
                a.names(names);
                b.names(names);
            }
            Self::Shift(bias, weight) => names.extend([bias.clone(), weight.clone()]),
        }
    }

    /// Whether it is what the map of this name makes of something.
    pub(crate) fn goes_through(&self, name: &str) -> bool {
        match self {
            Self::Raw(_) | Self::Constant(_) => false,
            Self::Gained(of, _) | Self::Centred(of, _) => of.goes_through(name),
            Self::Sum(a, b) => a.goes_through(name) || b.goes_through(name),
            Self::Shift(_, map) => map == name,
            Self::Gathered(_, map) => {
                let mut names = BTreeSet::new();
                map.names(&mut names);
                names.contains(name)
            }
        }
    }

    /// Its value.
    pub(crate) fn value<'a>(&self, raw: &'a Raw) -> Result<Values<'a>, PluginError> {
        let shown = |name: &str| Ok::<_, PluginError>(Values::Shown(weight(raw, name)?));
        Ok(match self {
            Self::Raw(name) => shown(name)?,
            Self::Constant(value) => Values::Constant(*value),
            Self::Gained(of, gain) => of.value(raw)?.gained(&shown(gain)?)?,
            Self::Centred(of, axis) => of.value(raw)?.centred(*axis),
            Self::Sum(a, b) => a.value(raw)?.plus(&b.value(raw)?)?,
            Self::Shift(bias, map) => shown(map)?.applied_to(&shown(bias)?)?,
            Self::Gathered(bias, map) => map.value(raw)?.gathered(&bias.value(raw)?)?,
        })
    }

    /// What its value cannot exceed, whatever the signs of the summands are.
    pub(crate) fn bound(&self, raw: &Raw) -> Result<Bound, PluginError> {
        let of_raw = |name: &str| Ok::<_, PluginError>(Values::Shown(weight(raw, name)?).largest());
        Ok(match self {
            Self::Raw(name) => Bound {
                largest: of_raw(name)?,
                summands: 1,
            },
            Self::Constant(value) => Bound {
                largest: value.abs(),
                summands: 1,
            },
            Self::Gained(of, gain) => {
                let inner = of.bound(raw)?;
                Bound {
                    largest: inner.largest * of_raw(gain)?,
                    ..inner
                }
            }
            Self::Centred(of, axis) => {
                let inner = of.bound(raw)?;
                let averaged = match (axis, of.value_shape(raw)?.as_slice()) {
                    (Axis::Output, [.., size]) | (Axis::Input, [.., size, _]) => *size,
                    _ => 1,
                };
                Bound {
                    largest: 2.0 * inner.largest,
                    summands: inner.summands.max(averaged),
                }
            }
            Self::Sum(a, b) => {
                let (a, b) = (a.bound(raw)?, b.bound(raw)?);
                Bound {
                    largest: a.largest + b.largest,
                    summands: a.summands.max(b.summands),
                }
            }
            Self::Shift(bias, map) => {
                let inputs = weight(raw, bias)?.shape().iter().product();
                Bound {
                    largest: inputs as f64 * of_raw(bias)? * of_raw(map)?,
                    summands: inputs,
                }
            }
            Self::Gathered(bias, map) => {
                let values: usize = map.value_shape(raw)?.iter().rev().skip(1).product();
                let (bias, map) = (bias.bound(raw)?, map.bound(raw)?);
                Bound {
                    largest: values as f64 * bias.largest * map.largest,
                    summands: values.max(bias.summands).max(map.summands),
                }
            }
        })
    }

    /// The axes that the outermost steps centre.
    pub(crate) fn centred_axes(&self) -> Vec<Axis> {
        match self {
            Self::Centred(of, axis) => {
                let mut axes = of.centred_axes();
                axes.push(*axis);
                axes
            }
            _ => Vec::new(),
        }
    }

    fn value_shape(&self, raw: &Raw) -> Result<Vec<usize>, PluginError> {
        Ok(match self {
            Self::Raw(name) => weight(raw, name)?.shape().to_vec(),
            Self::Constant(_) => Vec::new(),
            Self::Gained(of, _) | Self::Centred(of, _) | Self::Sum(of, _) => of.value_shape(raw)?,
            Self::Shift(_, map) => without_inputs(weight(raw, map)?.shape()),
            Self::Gathered(_, map) => map.value_shape(raw)?.last().copied().into_iter().collect(),
        })
    }
}

fn without_inputs(shape: &[usize]) -> Vec<usize> {
    let inputs = shape.len().saturating_sub(2);
    let kept = shape.iter().enumerate().filter(|(dim, _)| *dim != inputs);
    kept.map(|(_, size)| *size).collect()
}

fn weight<'a>(raw: &'a Raw, name: &str) -> Result<&'a Tensor, PluginError> {
    let found = raw.get(name);
    found.ok_or_else(|| PluginError::internal(format!("the raw weight {name} was not asked for")))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(name) => f.write_str(name),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Gained(of, gain) => write!(f, "{gain} * {of}"),
            Self::Centred(of, axis) => write!(f, "centred({of}, {})", axis.name()),
            Self::Sum(a, b) => write!(f, "{a} + {b}"),
            Self::Shift(bias, map) => write!(f, "{bias} @ {map}"),
            Self::Gathered(bias, map) => write!(f, "({bias}) @ {map}"),
        }
    }
}
