//! The smallest part of a wrong value that still shows the error, and what goes into it.

use std::iter::zip;
use std::ops::Range;

use tlbench_sdk::compare::{Gate, Region};
use tlbench_sdk::spec::{AttentionSpec, Cut, CutError, Mask};
use tlbench_sdk::{Dim, Tensor};

use super::operation::At;

/// A value that is wrong.
pub(crate) struct Wrong<'a> {
    pub(crate) dims: &'a [Dim],
    pub(crate) found: &'a Tensor,
    pub(crate) truth: &'a Tensor,
    /// The positions that count.
    pub(crate) region: &'a Region,
    pub(crate) floor: f64,
    /// The attention of its block.
    pub(crate) attention: Option<&'a AttentionSpec>,
    /// Whether each head is made of what belongs to it alone; among several operations some may mix heads.
    pub(crate) is_by_head: bool,
}

/// A part of a value: of one row, position and head, or of all where it does not say which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) row: Option<usize>,
    pub(crate) position: Option<usize>,
    pub(crate) head: Option<usize>,
    pub(crate) kv_head: Option<usize>,
    /// How many keys are kept, from the first on.
    pub(crate) keys: Option<usize>,
}

impl Place {
    /// In words.
    pub(crate) fn text(&self) -> String {
        let part = |name: &str, index: Option<usize>| Some(format!("{name} {}", index?));
        let kv_head = self.kv_head.filter(|_| self.head.is_none());
        let parts = [
            part("row", self.row),
            part("position", self.position),
            part("head", self.head),
            part("KV head", kv_head),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => "all of it".to_owned(),
            false => parts.join(", "),
        }
    }

    /// What lies here of a value with dimensions `dims`; of what is read `at` other positions, all of those.
    ///
    /// # Errors
    /// If the value has other dimensions.
    pub(crate) fn part(&self, value: &Tensor, dims: &[Dim], at: At) -> Result<Tensor, CutError> {
        let mut part = value.clone();
        for (dim, kind) in dims.iter().enumerate() {
            // What does not depend on the row is there once.
            let is_broadcast = value.shape().get(dim) == Some(&1);
            if let Some(range) = self.range(kind, dims, at).filter(|_| !is_broadcast) {
                let (start, len) = (range.start, range.len());
                part = Cut::Slice { dim, start, len }.apply(&part)?;
            }
        }
        Ok(part)
    }

    /// What is kept of a dimension; `None`: all.
    fn range(&self, dim: &Dim, dims: &[Dim], at: At) -> Option<Range<usize>> {
        let one = |index: Option<usize>| index.map(|index| index..index + 1);
        let keys = || Some(0..self.keys?);
        match dim {
            Dim::Batch => one(self.row),
            Dim::Pos | Dim::KeyPos if at == At::Keys => keys(),
            Dim::KeyPos if dims.contains(&Dim::Pos) => keys(),
            Dim::Pos | Dim::KeyPos => one(self.position),
            Dim::Size { name, .. } if name == "n_heads" => one(self.head),
            Dim::Size { name, .. } if name == "n_kv_heads" => one(self.kv_head),
            Dim::Size { .. } | Dim::One => None,
        }
    }
}

impl Wrong<'_> {
    /// The first position that is beyond the gate by itself, and the first head there that is.
    ///
    /// # Errors
    /// If the value has other dimensions.
    pub(crate) fn place(&self) -> Result<Place, CutError> {
        let Some(mut place) = self.first_beyond(self.positions())? else {
            return Ok(Place::default());
        };
        let with_head = self.heads().into_iter().map(|(head, kv_head)| Place {
            head,
            kv_head,
            ..place
        });
        place = self.first_beyond(with_head)?.unwrap_or(place);
        place.keys = self.keys(&place)?;
        Ok(place)
    }

    /// The error ratio of the part at `place`; infinite where a side is, or is no number, alone.
    ///
    /// # Errors
    /// If the value has other dimensions.
    pub(crate) fn ratio(&self, place: &Place) -> Result<f64, CutError> {
        let part = |value| place.part(value, self.dims, At::Same);
        let pairs = zip(
            part(self.found)?.to_f64_vec(),
            part(self.truth)?.to_f64_vec(),
        );
        let differing: Vec<f64> = pairs
            .filter(|(found, truth)| found.is_finite() || found != truth)
            .map(|(found, truth)| found - truth)
            .collect();
        if differing.iter().any(|difference| !difference.is_finite()) {
            return Ok(f64::INFINITY);
        }
        let squares: f64 = differing.iter().map(|difference| difference.powi(2)).sum();
        let rms = (squares / differing.len().max(1) as f64).sqrt();
        Ok(if rms == 0.0 { 0.0 } else { rms / self.floor })
    }

    fn first_beyond(
        &self,
        places: impl IntoIterator<Item = Place>,
    ) -> Result<Option<Place>, CutError> {
        let gate = Gate::for_rows(1).warning;
        for place in places {
            if self.ratio(&place)? > gate {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Every position of a token.
    fn positions(&self) -> Vec<Place> {
        let size = |wanted: &[Dim]| {
            let at = self.dims.iter().position(|dim| wanted.contains(dim))?;
            self.truth.shape().get(at).copied()
        };
        let queries = size(&[Dim::Pos]).or_else(|| size(&[Dim::KeyPos]));
        let (Some(rows), Some(positions)) = (size(&[Dim::Batch]), queries) else {
            return Vec::new();
        };
        let of_row = |row: usize| (0..positions).map(move |position| (row, position));
        (0..rows)
            .flat_map(of_row)
            .filter(|&(row, position)| self.region.is_real(row, position))
            .map(|(row, position)| Place {
                row: Some(row),
                position: Some(position),
                ..Place::default()
            })
            .collect()
    }

    /// Every head of the value, with the key head that serves it, or every key head.
    fn heads(&self) -> Vec<(Option<usize>, Option<usize>)> {
        if !self.is_by_head {
            return Vec::new();
        }
        let count = |wanted: &str| {
            self.dims.iter().find_map(|dim| match dim {
                Dim::Size { name, size } if name == wanted => Some(*size),
                _ => None,
            })
        };
        let served_by = |head: usize| {
            let attention = self.attention?;
            let per_group = attention.n_heads.checked_div(attention.n_kv_heads)?;
            head.checked_div(per_group)
        };
        if let Some(heads) = count("n_heads") {
            return (0..heads)
                .map(|head| (Some(head), served_by(head)))
                .collect();
        }
        let kv_heads = count("n_kv_heads").unwrap_or(0);
        (0..kv_heads).map(|head| (None, Some(head))).collect()
    }

    /// How many keys are enough for what lies at `place`: those up to the query, and those that are wrongly seen.
    fn keys(&self, place: &Place) -> Result<Option<usize>, CutError> {
        let (Some(attention), Some(position)) = (self.attention, place.position) else {
            return Ok(None);
        };
        let looks_ahead = match attention.mask {
            Mask::Band { ahead, .. } => ahead != Some(0),
            Mask::Chunked { .. } => false,
        };
        if looks_ahead {
            return Ok(None);
        }
        let up_to_query = position + 1;
        if ![Dim::Pos, Dim::KeyPos]
            .iter()
            .all(|dim| self.dims.contains(dim))
        {
            return Ok(Some(up_to_query));
        }
        // One query by itself: the last dimension counts its keys.
        let found = place.part(self.found, self.dims, At::Same)?.to_f64_vec();
        let truth = place.part(self.truth, self.dims, At::Same)?.to_f64_vec();
        let all = self.truth.shape().last().copied().unwrap_or(up_to_query);
        let differs = |key: &usize| {
            let mut of_key = zip(&found, &truth).skip(*key).step_by(all.max(1));
            of_key.any(|(found, truth)| found != truth)
        };
        let last = (up_to_query..all).rev().find(differs);
        Ok(Some(last.map_or(up_to_query, |last| last + 1)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHAPE: [usize; 4] = [2, 4, 5, 5];

    /// Scores of four heads on two key heads in two rows of five positions, of which the second begins with padding.
    fn place(wrong: impl Fn(usize, usize, usize, usize) -> f64) -> (Place, Vec<usize>) {
        let projection =
            json!({ "weight": { "names": ["w"], "shape": [1] }, "bias": null, "tap": null });
        let attention: AttentionSpec = serde_json::from_value(json!({
            "n_heads": 4, "n_kv_heads": 2, "d_head": 3, "scale": 1.0,
            "q": projection, "k": projection, "v": projection, "o": projection, "position": "none",
            "mask": { "band": { "back": null, "ahead": 0 } }, "module": null, "port": "opaque",
        }))
        .unwrap();
        let heads = Dim::Size {
            name: "n_heads".into(),
            size: 4,
        };
        let mask = Tensor::from_vec(vec![1_i64, 1, 1, 1, 1, 0, 0, 1, 1, 1], &[2, 5]).unwrap();
        let (mut found, mut truth) = (Vec::new(), Vec::new());
        for index in 0..SHAPE.iter().product() {
            let [row, head, query, key] = [index / 100, index / 25 % 4, index / 5 % 5, index % 5];
            let hidden = key > query;
            truth.push(if hidden { f64::NEG_INFINITY } else { 1.0 });
            found.push(truth[index] + wrong(row, head, query, key));
        }
        let tensor = |values| Tensor::from_vec(values, &SHAPE).unwrap();
        let (found, truth) = (tensor(found), tensor(truth));
        let wrong = Wrong {
            dims: &[Dim::Batch, heads, Dim::Pos, Dim::KeyPos],
            found: &found,
            truth: &truth,
            region: &Region::new(&mask).unwrap(),
            floor: 1e-7,
            attention: Some(&attention),
            is_by_head: true,
        };
        let place = wrong.place().unwrap();
        let part = place.part(&truth, wrong.dims, At::Same).unwrap();
        (place, part.shape().to_vec())
    }

    #[test]
    fn the_first_position_and_head_that_show_it_and_the_keys_up_to_there() {
        let (place, shape) =
            place(|row, head, query, _| f64::from(u8::from(row == 1 && head >= 2 && query >= 1)));
        // Positions 0 and 1 of that row are padding.
        assert_eq!(place.text(), "row 1, position 2, head 2");
        assert_eq!((place.kv_head, place.keys), (Some(1), Some(3)));
        assert_eq!(shape, [1, 1, 1, 3]);
    }

    #[test]
    fn a_key_that_is_seen_and_should_not_be_is_kept() {
        let (place, shape) = place(
            |_, _, query, key| {
                if key == query + 1 { f64::INFINITY } else { 0.0 }
            },
        );
        assert_eq!(place.text(), "row 0, position 0, head 0");
        assert_eq!(shape, [1, 1, 1, 2]);
    }

    #[test]
    fn what_no_position_shows_by_itself_is_kept_as_a_whole() {
        let (place, shape) = place(|_, _, _, _| 5e-7);
        assert_eq!((place, shape), (Place::default(), SHAPE.to_vec()));
        assert_eq!(place.text(), "all of it");
    }
}
