//! Products of transformers' `Conv1D`, which stores `[in, out]` where a `Linear` stores `[out, in]`.

use std::array;

use super::inner_model::InnerModel;
use super::source::{Cut, ProjectionSpec};
use super::tap::{HfTap, TapStep};

impl InnerModel {
    /// A `Conv1D [inputs, outputs]`, with its bias.
    pub fn conv1d(self, path: &str, inputs: usize, outputs: usize) -> ProjectionSpec {
        let weight = self.tensor(&format!("{path}.weight"), [inputs, outputs]);
        ProjectionSpec {
            weight: weight.cut(Cut::Transpose),
            bias: Some(self.tensor(&format!("{path}.bias"), [outputs])),
            tap: Some(HfTap::output(self.module(path))),
        }
    }

    /// `N` products of one `Conv1D [inputs, N * outputs]`, which puts their results side by side.
    pub fn conv1d_side_by_side<const N: usize>(
        self,
        path: &str,
        inputs: usize,
        outputs: usize,
    ) -> [ProjectionSpec; N] {
        let weight = self.tensor(&format!("{path}.weight"), [inputs, N * outputs]);
        let bias = self.tensor(&format!("{path}.bias"), [N * outputs]);
        let tap = HfTap::output(self.module(path));
        array::from_fn(|nth| {
            let (start, len) = (nth * outputs, outputs);
            let columns = weight.clone().cut(Cut::Slice { dim: 1, start, len });
            ProjectionSpec {
                weight: columns.cut(Cut::Transpose),
                bias: Some(bias.clone().cut(Cut::Slice { dim: 0, start, len })),
                tap: Some(tap.clone().step(TapStep::Slice { start, len })),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_lie_side_by_side_are_the_columns_of_one() {
        let [first, second] = InnerModel("model").conv1d_side_by_side::<2>("both", 3, 4);
        for (product, start) in [(&first, 0), (&second, 4)] {
            assert_eq!(product.weight.shape, [3, 8]);
            assert_eq!(product.weight.cut_shape().unwrap(), [4, 3]);
            let bias = product.bias.as_ref().unwrap();
            assert_eq!(
                bias.cut,
                [Cut::Slice {
                    dim: 0,
                    start,
                    len: 4
                }]
            );
            let steps = &product.tap.as_ref().unwrap().steps;
            assert_eq!(*steps, [TapStep::Slice { start, len: 4 }]);
        }
        let alone = InnerModel("model").conv1d("one", 3, 4);
        assert_eq!(alone.weight.cut_shape().unwrap(), [4, 3]);
    }
}
