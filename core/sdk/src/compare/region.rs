//! Which elements count: what belongs to padding never does.

use crate::hooks::{Dim, HookPoint};
use crate::tensor::Tensor;
use crate::trace::Quantity;

/// How a tensor's dimensions relate to rows and positions. The batch is always dimension 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axes {
    /// Dimension `pos` counts positions (those of the queries, where there are two kinds).
    Positions {
        /// The dimension.
        pos: usize,
    },
    /// Dimension 1 counts pairs of neighbouring positions (per-token losses).
    Pairs,
    /// No dimension does.
    Whole,
}

impl Axes {
    /// The axes of the value at `hook`.
    pub fn of_hook(hook: &HookPoint) -> Self {
        let find = |wanted: &Dim| hook.shape.iter().position(|dim| dim == wanted);
        find(&Dim::Pos)
            .or_else(|| find(&Dim::KeyPos))
            .map_or(Self::Whole, |pos| Self::Positions { pos })
    }

    /// The axes of `quantity`, among the hook points `hooks`; `None` for a hook that is not there.
    pub fn of(quantity: &Quantity, hooks: &[HookPoint]) -> Option<Self> {
        match quantity {
            Quantity::Logits | Quantity::LogProbs => Some(Self::Positions { pos: 1 }),
            Quantity::LossPerToken => Some(Self::Pairs),
            Quantity::Hook(name) | Quantity::HookGradient(name) => hooks
                .iter()
                .find(|hook| hook.name == *name)
                .map(Self::of_hook),
            Quantity::Loss
            | Quantity::Generated
            | Quantity::ParameterGradient(_)
            | Quantity::Weight(_) => Some(Self::Whole),
        }
    }
}

/// The rows and positions of one input that hold tokens.
#[derive(Clone, Debug)]
pub struct Region {
    batch: usize,
    pos: usize,
    real: Vec<bool>,
}

impl Region {
    /// From an attention mask `[batch, pos]` of I64; anything but 0 is a token.
    pub fn new(attention_mask: &Tensor) -> Option<Self> {
        let &[batch, pos] = attention_mask.shape() else {
            return None;
        };
        let real = attention_mask
            .as_slice::<i64>()?
            .iter()
            .map(|&value| value != 0)
            .collect();
        Some(Self { batch, pos, real })
    }

    /// Whether the token at `row`, `pos` is real.
    pub fn is_real(&self, row: usize, pos: usize) -> bool {
        pos < self.pos
            && self
                .real
                .get(row * self.pos + pos)
                .copied()
                .unwrap_or(false)
    }

    /// How many places of padding `row` begins with.
    pub fn left_padding(&self, row: usize) -> usize {
        let places = 0..self.pos;
        places.take_while(|&pos| !self.is_real(row, pos)).count()
    }

    /// Each position that holds a token, counted through all rows.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let real = self.real.iter().enumerate();
        real.filter_map(|(place, &is_real)| is_real.then_some(place))
    }

    /// The one row `row` by itself; `None` if there are fewer.
    pub fn row(&self, row: usize) -> Option<Self> {
        let real = self.real.get(row * self.pos..(row + 1) * self.pos)?;
        Some(Self {
            batch: 1,
            pos: self.pos,
            real: real.to_vec(),
        })
    }

    /// How many positions count.
    pub fn rows(&self, axes: Axes) -> usize {
        match axes {
            Axes::Positions { .. } | Axes::Whole => self.real.iter().filter(|&&real| real).count(),
            Axes::Pairs => (0..self.batch)
                .map(|row| {
                    (1..self.pos)
                        .filter(|&pos| self.is_real(row, pos - 1) && self.is_real(row, pos))
                        .count()
                })
                .sum(),
        }
    }

    /// The runs of elements `(row, position, range)` of a tensor of `shape` that count, in memory order.
    pub(crate) fn runs(&self, shape: &[usize], axes: Axes) -> Vec<Run> {
        let elements: usize = shape.iter().product();
        let axis = match axes {
            Axes::Whole => {
                return vec![Run {
                    row: 0,
                    pos: 0,
                    start: 0,
                    end: elements,
                }];
            }
            Axes::Positions { pos } => pos,
            Axes::Pairs => 1,
        };
        if axis >= shape.len() || elements == 0 {
            return Vec::new();
        }
        let width: usize = shape[axis + 1..].iter().product();
        let per_row: usize = shape[1..].iter().product();
        (0..elements / width)
            .filter_map(|block| {
                let start = block * width;
                // A batch of one is broadcast: position embeddings do not depend on the row.
                let (row, pos) = (start / per_row, block % shape[axis]);
                let counts = match axes {
                    Axes::Pairs => self.is_real(row, pos) && self.is_real(row, pos + 1),
                    Axes::Positions { .. } | Axes::Whole => self.is_real(row, pos),
                };
                counts.then_some(Run {
                    row,
                    pos,
                    start,
                    end: start + width,
                })
            })
            .collect()
    }
}

/// Consecutive elements at one position of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) row: usize,
    pub(crate) pos: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> Region {
        Region::new(&Tensor::from_vec(vec![1_i64, 1, 1, 0, 0, 1], &[2, 3]).unwrap()).unwrap()
    }

    #[test]
    fn padding_does_not_count() {
        assert_eq!(region().rows(Axes::Positions { pos: 1 }), 4);
        let starts: Vec<usize> = region()
            .runs(&[2, 3, 5], Axes::Positions { pos: 1 })
            .iter()
            .map(|r| r.start)
            .collect();
        assert_eq!(starts, [0, 5, 10, 25]);
    }

    #[test]
    fn only_query_rows_decide_for_scores() {
        let runs = region().runs(&[2, 2, 3, 3], Axes::Positions { pos: 2 });
        let second_row: Vec<usize> = runs
            .iter()
            .filter(|r| r.row == 1)
            .map(|r| r.start)
            .collect();
        assert_eq!(second_row, [18 + 6, 18 + 15]);
    }

    #[test]
    fn a_pair_needs_two_tokens() {
        assert_eq!(region().rows(Axes::Pairs), 2);
        assert_eq!(region().runs(&[2, 2], Axes::Pairs).len(), 2);
    }
}
