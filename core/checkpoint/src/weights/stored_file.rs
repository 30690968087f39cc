//! Positioned reads: no memory map, and any number of readers at once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::CheckpointError;

/// An open file of known length.
#[derive(Debug)]
pub(super) struct StoredFile {
    path: PathBuf,
    len: u64,
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl StoredFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, CheckpointError> {
        // Asked before opening: to open a pipe would wait for its writer.
        let metadata = fs::metadata(&path).map_err(CheckpointError::io(&path, "open"))?;
        if !metadata.is_file() {
            return Err(CheckpointError::NotAFile { path });
        }
        let file = File::open(&path).map_err(CheckpointError::io(&path, "open"))?;
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Ok(Self {
            path,
            len: metadata.len(),
            file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` with what stands from `offset` on.
    pub(super) fn read_exact_at(
        &self,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), CheckpointError> {
        self.read_at(buffer, offset)
            .map_err(CheckpointError::io(&self.path, "read"))
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read as _, Seek as _};

        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
