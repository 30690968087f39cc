//! The tensors of a safetensors file, or of several with an index.

mod header;
mod index;
mod problem;
mod stored_file;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{DType, Element, Tensor};

use self::header::{Entry, Header};
use self::index::{Index, Shards};
pub use self::index::{IndexProblem, shard_names};
pub use self::problem::HeaderProblem;
use self::stored_file::StoredFile;
pub use self::write::{write_tensors, write_weights};
use crate::error::CheckpointError;

// The format is little-endian, and values are read straight into place.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "checkpoints are read on little-endian machines only"
);

/// Elements that are converted at a time.
const CHUNK: usize = 1 << 16;

/// Open safetensors files, whose headers were checked. Tensors are read when asked for.
#[derive(Debug)]
pub struct Weights {
    /// What a message about all of them names: the file, or the index.
    named: PathBuf,
    files: Vec<StoredFile>,
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
}

/// Where a tensor is.
#[derive(Debug)]
struct Stored {
    /// Which of the files.
    file: usize,
    entry: Entry,
}

impl Weights {
    /// Reads and checks the header of one file that holds everything.
    ///
    /// # Errors
    /// If the file cannot be read or contradicts itself.
    pub fn open(file: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let file = StoredFile::open(file.into())?;
        let Header { tensors, metadata } = Header::read(&file)?;
        let stored = |(name, entry)| (name, Stored { file: 0, entry });
        Ok(Self {
            named: file.path().to_owned(),
            files: vec![file],
            tensors: tensors.into_iter().map(stored).collect(),
            metadata,
        })
    }

    /// Reads an index and checks the headers of the shards that it names, which lie beside it. What a shard holds
    /// beyond the index is there as well, as it is for transformers.
    ///
    /// # Errors
    /// If one of the files cannot be read, or they contradict each other.
    pub fn open_sharded(index: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let named = index.into();
        let Shards { files, tensors } = Index::read(&named)?.open_shards()?;
        Ok(Self {
            named,
            files,
            tensors,
            metadata: BTreeMap::new(),
        })
    }

    /// The file, or the index of several.
    pub fn file(&self) -> &Path {
        &self.named
    }

    /// The stored names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The texts stored beside the tensors; of shards, none.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The stored shape.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn shape(&self, name: &str) -> Result<&[usize], CheckpointError> {
        Ok(&self.stored(name)?.entry.shape)
    }

    /// The stored element type.
    ///
    /// # Errors
    /// If there is no such tensor, or it is of a type that is not read.
    pub fn dtype(&self, name: &str) -> Result<DType, CheckpointError> {
        match self.stored(name)?.entry.dtype {
            Dtype::F64 => Ok(DType::F64),
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            Dtype::I64 => Ok(DType::I64),
            found => {
                Err(self.wrong_elements(name, "f64, f32, f16, bf16 or i64", found.to_string()))
            }
        }
    }

    /// The stored name of `source`: the first of its names that is there. Its shape is checked.
    ///
    /// # Errors
    /// If none is there, or the shape differs.
    pub fn resolve(&self, source: &TensorSource) -> Result<&str, CheckpointError> {
        let stored = source
            .names
            .iter()
            .find_map(|name| self.tensors.get_key_value(name));
        let (name, stored) = stored.ok_or_else(|| self.no_tensor(&source.names))?;
        if stored.entry.shape != source.shape {
            return Err(CheckpointError::Shape {
                file: self.file_of(stored).path().to_owned(),
                tensor: name.clone(),
                expected: source.shape.clone(),
                found: stored.entry.shape.clone(),
            });
        }
        Ok(name)
    }

    /// Reads a tensor as it is stored.
    ///
    /// # Errors
    /// If there is no such tensor, it is of a type that is not read, or reading fails.
    pub fn read(&self, name: &str) -> Result<Tensor, CheckpointError> {
        match self.dtype(name)? {
            DType::F64 => self.read_tensor::<f64>(name),
            DType::F32 => self.read_tensor::<f32>(name),
            DType::F16 => self.read_tensor::<f16>(name),
            DType::BF16 => self.read_tensor::<bf16>(name),
            DType::I64 => self.read_tensor::<i64>(name),
        }
    }

    /// Reads the elements of a tensor that holds `T`.
    ///
    /// # Errors
    /// If there is no such tensor, it holds something else, or reading fails.
    pub fn read_vec<T: Element>(&self, name: &str) -> Result<Vec<T>, CheckpointError> {
        let found = self.dtype(name)?;
        if found != T::DTYPE {
            return Err(self.wrong_elements(name, T::DTYPE.name(), found.name().to_owned()));
        }
        let stored = self.stored(name)?;
        let mut values = vec![T::zeroed(); stored.entry.bytes / T::DTYPE.size()];
        self.file_of(stored)
            .read_exact_at(bytemuck::cast_slice_mut(&mut values), stored.entry.begin)?;
        Ok(values)
    }

    /// Reads the elements of a tensor of floats that f32 holds exactly.
    ///
    /// # Errors
    /// If there is no such tensor, it holds f64 or integers, or reading fails.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        match self.dtype(name)? {
            DType::F32 => self.read_vec(name),
            DType::F16 => self.read_widened(name, f16::to_f32),
            DType::BF16 => self.read_widened(name, bf16::to_f32),
            other => Err(self.wrong_elements(name, "f32, f16 or bf16", other.name().to_owned())),
        }
    }

    /// Reads the elements of a tensor of floats, all of which f64 holds exactly.
    ///
    /// # Errors
    /// If there is no such tensor, it holds integers, or reading fails.
    pub fn read_f64(&self, name: &str) -> Result<Vec<f64>, CheckpointError> {
        match self.dtype(name)? {
            DType::F64 => self.read_vec(name),
            DType::F32 => self.read_widened(name, |value: f32| f64::from(value)),
            DType::F16 => self.read_widened(name, f16::to_f64),
            DType::BF16 => self.read_widened(name, bf16::to_f64),
            DType::I64 => Err(self.wrong_elements(name, "f64, f32, f16 or bf16", "i64".to_owned())),
        }
    }

    /// The element type as the format names it, whether it is read or not.
    pub(crate) fn stored_type(&self, name: &str) -> Result<String, CheckpointError> {
        Ok(self.stored(name)?.entry.dtype.to_string())
    }

    /// Shows the bytes of a tensor, piece by piece.
    pub(crate) fn for_each_chunk(
        &self,
        name: &str,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), CheckpointError> {
        self.for_each_piece::<u8>(name, |bytes| see(bytes))
    }

    fn read_tensor<T: Element>(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let values = self.read_vec::<T>(name)?;
        let shape = self.shape(name)?;
        // The header was checked to say so; the error is the one that a header which does not would get.
        let elements = values.len();
        Tensor::from_vec(values, shape).map_err(|error| CheckpointError::Shape {
            file: self.named.clone(),
            tensor: name.to_owned(),
            expected: vec![elements],
            found: error.shape,
        })
    }

    fn read_widened<S: Element, T>(
        &self,
        name: &str,
        widen: impl Fn(S) -> T,
    ) -> Result<Vec<T>, CheckpointError> {
        let mut values = Vec::with_capacity(self.stored(name)?.entry.bytes / S::DTYPE.size());
        self.for_each_piece(name, |piece: &[S]| {
            values.extend(piece.iter().map(|&value| widen(value)));
        })?;
        Ok(values)
    }

    fn for_each_piece<S: bytemuck::Pod>(
        &self,
        name: &str,
        mut see: impl FnMut(&[S]),
    ) -> Result<(), CheckpointError> {
        let stored = self.stored(name)?;
        let mut left = stored.entry.bytes / size_of::<S>();
        let mut begin = stored.entry.begin;
        let mut buffer = vec![S::zeroed(); left.min(CHUNK)];
        while left > 0 {
            let piece = &mut buffer[..left.min(CHUNK)];
            self.file_of(stored)
                .read_exact_at(bytemuck::cast_slice_mut(piece), begin)?;
            see(piece);
            left -= piece.len();
            begin += size_of_val(piece) as u64;
        }
        Ok(())
    }

    fn stored(&self, name: &str) -> Result<&Stored, CheckpointError> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.no_tensor(&[name.to_owned()]))
    }

    fn file_of(&self, stored: &Stored) -> &StoredFile {
        &self.files[stored.file]
    }

    fn no_tensor(&self, names: &[String]) -> CheckpointError {
        let nearest = nearest(names, self.names());
        CheckpointError::NoTensor {
            file: self.named.clone(),
            names: names.to_vec(),
            nearest,
        }
    }

    fn wrong_elements(
        &self,
        tensor: &str,
        expected: &'static str,
        found: String,
    ) -> CheckpointError {
        let file = self
            .tensors
            .get(tensor)
            .map_or(self.file(), |stored| self.file_of(stored).path());
        CheckpointError::Elements {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
            expected,
            found,
        }
    }
}

/// Up to three of `stored` that could be meant by one of `wanted`, nearest first.
fn nearest<'a>(wanted: &[String], stored: impl Iterator<Item = &'a str>) -> Vec<String> {
    const MOST: usize = 3;
    const SIMILAR: f64 = 0.7;
    let likeness = |name: &str| {
        wanted
            .iter()
            .map(|wanted| strsim::normalized_levenshtein(wanted, name))
            .fold(0.0, f64::max)
    };
    let mut ranked: Vec<(f64, &str)> = stored
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .collect();
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    ranked
        .into_iter()
        .take(MOST)
        .map(|(_, name)| name.to_owned())
        .collect()
}
