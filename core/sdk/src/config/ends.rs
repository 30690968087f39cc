//! Both ends of the residual stream, by the keys of most families.

use super::{ConfigError, ConfigReader};
use crate::spec::StreamEnds;

impl ConfigReader {
    /// [`StreamEnds::usual`] of a stream that is `d_model` wide, by `vocab_size` and `tie_word_embeddings`, of which HF's
    /// defaults are given.
    ///
    /// # Errors
    /// If either key holds something else.
    pub fn stream_ends(
        &self,
        d_vocab: usize,
        d_model: usize,
        tied: bool,
    ) -> Result<StreamEnds<'static>, ConfigError> {
        let d_vocab = self.size_or(&["vocab_size"], d_vocab)?;
        let tied = self.flag_or(&["tie_word_embeddings"], tied)?;
        Ok(StreamEnds::usual(d_vocab, d_model, tied))
    }
}
