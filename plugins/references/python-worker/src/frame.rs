//! Messages to and from the worker: u32 length of a JSON text, the text, u64 length of a blob, the blob; all
//! little-endian.

use std::io::{self, Read, Write};

/// No text is nearly as long; what claims to be is not the worker.
const LONGEST_TEXT: u32 = 64 << 20;

/// What travels at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// JSON.
    pub(crate) text: Vec<u8>,
    /// Safetensors, or nothing.
    pub(crate) blob: Vec<u8>,
}

/// Why there is no frame.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The other side has hung up.
    Ended,
    /// The other side says nothing.
    Silence,
    /// What came is no frame.
    Garbage(String),
    /// The pipe failed.
    Io(io::Error),
}

impl Frame {
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        to.write_all(
            &u32::try_from(self.text.len())
                .map_err(too_long)?
                .to_le_bytes(),
        )?;
        to.write_all(&self.text)?;
        to.write_all(
            &u64::try_from(self.blob.len())
                .map_err(too_long)?
                .to_le_bytes(),
        )?;
        to.write_all(&self.blob)?;
        to.flush()
    }

    pub(crate) fn read(from: &mut impl Read) -> Result<Self, FrameError> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let claimed = u32::from_le_bytes(length);
        if claimed > LONGEST_TEXT {
            let start = String::from_utf8_lossy(&length).escape_debug().to_string();
            return Err(FrameError::Garbage(format!(
                "a message that begins with \"{start}\""
            )));
        }
        let text = read_block(from, claimed.into())?;
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let blob = read_block(from, u64::from_le_bytes(length))?;
        Ok(Self { text, blob })
    }
}

/// Grows as data arrives, so that a wrong length asks for no memory.
fn read_block(from: &mut impl Read, length: u64) -> Result<Vec<u8>, FrameError> {
    let mut block = Vec::new();
    let read = from.take(length).read_to_end(&mut block)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(block)
    } else {
        Err(FrameError::Ended)
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let frame = Frame {
            text: b"{}".to_vec(),
            blob: vec![1, 2, 3],
        };
        let mut bytes = Vec::new();
        frame.write(&mut bytes).unwrap();
        assert_eq!(
            bytes,
            [2, 0, 0, 0, b'{', b'}', 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]
        );
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), frame);
    }

    #[test]
    fn every_truncation_is_an_end() {
        let mut bytes = Vec::new();
        Frame {
            text: b"{}".to_vec(),
            blob: vec![7; 9],
        }
        .write(&mut bytes)
        .unwrap();
        for length in 0..bytes.len() {
            assert!(
                matches!(Frame::read(&mut &bytes[..length]), Err(FrameError::Ended)),
                "{length}"
            );
        }
    }

    #[test]
    fn a_greeting_is_garbage() {
        let error = Frame::read(&mut b"Python 3.11\n".as_slice()).unwrap_err();
        assert!(
            matches!(error, FrameError::Garbage(what) if what == "a message that begins with \"Pyth\"")
        );
    }

    #[test]
    fn an_absurd_length_asks_for_no_memory() {
        let bytes = [
            [2, 0, 0, 0].as_slice(),
            b"{}",
            &u64::MAX.to_le_bytes(),
            &[0; 4],
        ]
        .concat();
        assert!(matches!(
            Frame::read(&mut bytes.as_slice()),
            Err(FrameError::Ended)
        ));
    }
}
