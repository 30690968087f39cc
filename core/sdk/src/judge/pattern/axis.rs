//! What a tensor is cut into slices by.

use crate::hooks::Dim;

/// A way to number the slices of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) kind: Kind,
    /// The number of slices.
    pub(super) slices: usize,
    number: Number,
}

/// What the slices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Row,
    Position,
    /// How far a key lies behind its query; `ahead` slices come before those with a key at the query itself.
    Distance {
        ahead: usize,
    },
    Head,
    KvHead,
    Expert,
    Token,
    Channel,
}

/// From an element's place to the number of its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    At {
        dim: usize,
    },
    Distance {
        query: usize,
        key: usize,
        ahead: usize,
    },
}

impl Axis {
    /// Those of a tensor of `shape` whose dimensions are `dims`, in the order in which they are told.
    pub(super) fn all(dims: &[Dim], shape: &[usize]) -> Vec<Self> {
        let mut axes: Vec<Self> = dims
            .iter()
            .zip(shape)
            .enumerate()
            .filter_map(|(at, (dim, &slices))| {
                Some(Self {
                    kind: kind(dim, dims)?,
                    slices,
                    number: Number::At { dim: at },
                })
            })
            .collect();
        axes.extend(distance(dims, shape));
        axes
    }

    /// The slice of the element at `place`.
    pub(super) fn slice(&self, place: &[usize]) -> usize {
        match self.number {
            Number::At { dim } => place[dim],
            Number::Distance { query, key, ahead } => ahead + place[query] - place[key],
        }
    }
}

fn kind(dim: &Dim, dims: &[Dim]) -> Option<Kind> {
    match dim {
        Dim::Batch => Some(Kind::Row),
        Dim::Pos => Some(Kind::Position),
        // Keys by themselves are positions; beside queries it is the distance that tells.
        Dim::KeyPos => (!dims.contains(&Dim::Pos)).then_some(Kind::Position),
        Dim::One => None,
        Dim::Size { name, .. } => Some(match name.as_str() {
            "n_heads" => Kind::Head,
            "n_kv_heads" => Kind::KvHead,
            "n_experts" => Kind::Expert,
            "d_vocab_out" => Kind::Token,
            _ => Kind::Channel,
        }),
    }
}

fn distance(dims: &[Dim], shape: &[usize]) -> Option<Axis> {
    let find = |wanted: &Dim| dims.iter().position(|dim| dim == wanted);
    let (query, key) = (find(&Dim::Pos)?, find(&Dim::KeyPos)?);
    // Behind a cache, keys are numbered from further back than queries are.
    let ahead = (shape[query] == shape[key]).then(|| shape[key].saturating_sub(1))?;
    Some(Axis {
        kind: Kind::Distance { ahead },
        slices: ahead + shape[query],
        number: Number::Distance { query, key, ahead },
    })
}
