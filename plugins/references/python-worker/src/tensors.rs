//! Tensors as a safetensors blob, and back.

use safetensors::{Dtype, SafeTensors};
use tlbench_checkpoint::StoredTensor;
use tlbench_sdk::{PluginError, Tensor, TensorMap};

/// A blob of `tensors`.
///
/// # Errors
/// If they are too large.
pub fn to_blob(tensors: &TensorMap) -> Result<Vec<u8>, PluginError> {
    let stored = tensors
        .iter()
        .map(|(name, tensor)| (name, StoredTensor(tensor.clone())));
    safetensors::serialize(stored, None).map_err(|error| PluginError::internal(error.to_string()))
}

/// The tensors of a blob: floats, and tokens.
///
/// # Errors
/// If it is no safetensors file, or a tensor is of another type.
pub fn from_blob(blob: &[u8]) -> Result<TensorMap, PluginError> {
    let stored =
        SafeTensors::deserialize(blob).map_err(|error| PluginError::internal(error.to_string()))?;
    stored
        .iter()
        .map(|(name, view)| {
            Ok((
                name.to_owned(),
                tensor(name, view.dtype(), view.shape(), view.data())?,
            ))
        })
        .collect()
}

fn tensor(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Tensor, PluginError> {
    let tensor = match dtype {
        Dtype::F32 => {
            let (values, _) = data.as_chunks();
            Tensor::from_vec(
                values.iter().copied().map(f32::from_le_bytes).collect(),
                shape,
            )
        }
        Dtype::F64 => {
            let (values, _) = data.as_chunks();
            Tensor::from_vec(
                values.iter().copied().map(f64::from_le_bytes).collect(),
                shape,
            )
        }
        Dtype::I64 => {
            let (values, _) = data.as_chunks();
            Tensor::from_vec(
                values.iter().copied().map(i64::from_le_bytes).collect(),
                shape,
            )
        }
        other => {
            return Err(PluginError::internal(format!(
                "`{name}` came as {other:?} instead of F32, F64 or I64"
            )));
        }
    };
    Ok(tensor?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let scores = vec![0.5_f32, f32::NEG_INFINITY, -0.0, f32::NAN];
        let tensors = TensorMap::from([
            (
                "text/hook:a".to_owned(),
                Tensor::from_vec(scores, &[1, 4]).unwrap(),
            ),
            (
                "single/loss_per_token".to_owned(),
                Tensor::from_vec::<f32>(vec![], &[1, 0]).unwrap(),
            ),
            ("text/loss".to_owned(), Tensor::scalar(3.5_f32)),
            ("text/exact".to_owned(), Tensor::scalar(0.1_f64)),
            (
                "text/generated".to_owned(),
                Tensor::from_vec(vec![-1_i64, 1 << 40], &[1, 2]).unwrap(),
            ),
        ]);
        assert_eq!(from_blob(&to_blob(&tensors).unwrap()).unwrap(), tensors);
    }

    #[test]
    fn elements_of_another_type_are_refused() {
        let blob = to_blob(&TensorMap::from([(
            "text/logits".to_owned(),
            Tensor::scalar(half::f16::ONE),
        )]))
        .unwrap();
        assert_eq!(
            from_blob(&blob).unwrap_err().message,
            "`text/logits` came as F16 instead of F32, F64 or I64"
        );
        assert!(from_blob(&blob[..7]).is_err());
    }
}
