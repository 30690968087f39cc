//! Text to token ids and back, as HuggingFace's tokenizer really does it.
//!
//! Measured with `AutoTokenizer` of transformers 5.23 (`tests/fixtures/measure_tokenizers.py`, its answers beside it):
//!
//! - **Where there is a `tokenizer.json`, `add_bos_token` and `add_eos_token` of `tokenizer_config.json` have no effect
//!   whatsoever**, true, false or absent, for a class of a model family and for the generic one: `from_pretrained` drops
//!   both keys before it makes the tokenizer. What is added to a text is what the post-processor of `tokenizer.json`
//!   adds, and nothing where it has none.
//! - So a byte-level BPE as `save_pretrained` writes it adds nothing, the empty text has no token at all, and a
//!   `TemplateProcessing` with a BOS adds it even to the empty text.
//! - Truncation and padding that are stored in `tokenizer.json` do not apply to a call that asks for neither.
//! - Special tokens in the text become one token each. They are those of `tokenizer.json`, of `added_tokens_decoder`
//!   and those that `tokenizer_config.json` (or, without `added_tokens_decoder`, `special_tokens_map.json`) names;
//!   what is not in the vocabulary yet is put behind it, in that order.
//!
//! One thing is not reproduced. Some tokenizer classes build a part of the pipeline anew from their own settings and
//! ignore that part of `tokenizer.json`: the pre-tokenizer (then `add_prefix_space` of `tokenizer_config.json` counts),
//! the normalizer, or the post-processor. It makes a difference only to a folder whose two files contradict each other,
//! which `save_pretrained` does not write; token ids can be given there.

mod added_tokens;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::AddedToken;

use self::added_tokens::{AddedTokens, Special};
use crate::error::CheckpointError;
use crate::json;

/// The name of the file with a tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The tokenizer of a model folder.
#[derive(Debug)]
pub struct Tokenizer {
    file: PathBuf,
    inner: tokenizers::Tokenizer,
    special: Special,
}

impl Tokenizer {
    /// Reads the tokenizer of `folder`.
    ///
    /// # Errors
    /// [`CheckpointError::NoTokenizer`] if the folder has none; others if it has one that is malformed.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let file = folder.join(TOKENIZER_FILE);
        if !file.exists() {
            return Err(CheckpointError::NoTokenizer {
                folder: folder.to_owned(),
            });
        }
        let mut added = AddedTokens::read(folder)?;
        let inner = guarded(&file, || {
            let mut inner: tokenizers::Tokenizer = json::read(&file)?;
            let padding = inner.get_padding().map(|padding| padding.pad_token.clone());
            added.special.pad = added.special.pad.take().or(padding);
            inner.with_padding(None);
            inner.with_truncation(None).map_err(refused(&file))?;
            let known = inner.get_added_tokens_decoder();
            let is_new =
                |new: &&AddedToken| known.values().all(|token| token.content != new.content);
            inner
                .add_tokens(added.tokens.iter().filter(is_new).cloned())
                .map_err(refused(&file))?;
            Ok(inner)
        })?;
        Ok(Self {
            file,
            inner,
            special: added.special,
        })
    }

    /// The token ids of `text`, with the special tokens that HuggingFace's tokenizer adds by default.
    ///
    /// # Errors
    /// If the tokenizer cannot represent it.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, CheckpointError> {
        guarded(&self.file, || {
            let encoding = self
                .inner
                .encode_fast(text, true)
                .map_err(refused(&self.file))?;
            Ok(encoding.get_ids().iter().copied().map(i64::from).collect())
        })
    }

    /// The text of `tokens`, special ones included.
    ///
    /// # Errors
    /// If one of them is not in the vocabulary.
    pub fn decode(&self, tokens: &[i64]) -> Result<String, CheckpointError> {
        guarded(&self.file, || {
            let ids = tokens.iter().map(|&token| {
                let id = u32::try_from(token).ok();
                let known = id.filter(|&id| self.inner.id_to_token(id).is_some());
                known.ok_or_else(|| CheckpointError::Tokenizer {
                    file: self.file.clone(),
                    message: format!("expected ids of its vocabulary, found {token}"),
                })
            });
            let ids = ids.collect::<Result<Vec<u32>, CheckpointError>>()?;
            self.inner.decode(&ids, false).map_err(refused(&self.file))
        })
    }

    /// The number of tokens, special ones included.
    pub fn token_count(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token that begins a text, if `tokenizer_config.json` names one.
    pub fn bos(&self) -> Option<i64> {
        self.id(self.special.bos.as_deref())
    }

    /// The token that ends a text, if `tokenizer_config.json` names one.
    pub fn eos(&self) -> Option<i64> {
        self.id(self.special.eos.as_deref())
    }

    /// The token that fills up short texts, if `tokenizer_config.json` or the stored padding names one.
    pub fn pad(&self) -> Option<i64> {
        self.id(self.special.pad.as_deref())
    }

    fn id(&self, token: Option<&str>) -> Option<i64> {
        self.inner.token_to_id(token?).map(i64::from)
    }
}

/// For `map_err` at a call of the tokenizers crate.
fn refused(file: &Path) -> impl FnOnce(tokenizers::Error) -> CheckpointError {
    move |error| CheckpointError::Tokenizer {
        file: file.to_owned(),
        message: error.to_string(),
    }
}

/// The tokenizers crate takes some files at their word (a template with a special token that is declared nowhere) and
/// panics later. A broken file has to end in an error.
fn guarded<T>(
    file: &Path,
    work: impl FnOnce() -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said = said
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("without a word");
        let message = format!("the tokenizers library gave up on this file ({said})");
        Err(CheckpointError::Tokenizer {
            file: file.to_owned(),
            message,
        })
    })
}
