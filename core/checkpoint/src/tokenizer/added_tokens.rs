//! The tokens that `tokenizer_config.json` adds to those of `tokenizer.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::error::CheckpointError;
use crate::json;

const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens_decoder";
/// In the order in which HuggingFace adds them.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
/// The second is the older spelling of the first.
const EXTRA: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// The special tokens that have a role.
#[derive(Debug, Default)]
pub(super) struct Special {
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    pub(super) pad: Option<String>,
}

/// What `tokenizer_config.json` says about tokens.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    /// In the order in which they are added.
    pub(super) tokens: Vec<AddedToken>,
    pub(super) special: Special,
}

impl AddedTokens {
    /// Reads the files of `folder`; both may be absent.
    pub(super) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let source = Source::read(folder)?;
        let named = |key| source.token(key);
        let special = Special {
            bos: named("bos_token")?.map(|token| token.content),
            eos: named("eos_token")?.map(|token| token.content),
            pad: named("pad_token")?.map(|token| token.content),
        };
        let mut tokens = source.declared()?;
        for key in NAMED {
            tokens.extend(named(key)?.filter(|token| !token.content.is_empty()));
        }
        tokens.extend(source.extra()?);
        // The first that names a token decides how it behaves.
        let mut seen = Vec::new();
        tokens.retain(|token| {
            let new = !seen.contains(&token.content);
            seen.push(token.content.clone());
            new
        });
        Ok(Self { tokens, special })
    }
}

/// The keys of both files, and whose they are.
struct Source {
    file: PathBuf,
    keys: Map<String, Value>,
}

impl Source {
    fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let file = folder.join(TOKENIZER_CONFIG_FILE);
        let mut keys = if file.exists() {
            json::read_object(&file)?
        } else {
            Map::new()
        };
        let legacy = folder.join(SPECIAL_TOKENS_FILE);
        if !keys.contains_key(ADDED_TOKENS) && legacy.exists() {
            keys.extend(json::read_object(&legacy)?);
        }
        Ok(Self { file, keys })
    }

    /// The value of `key`; `null` counts as absent.
    fn value(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn token(&self, key: &str) -> Result<Option<AddedToken>, CheckpointError> {
        self.value(key)
            .map(|value| self.parse(key, value))
            .transpose()
    }

    fn extra(&self) -> Result<Vec<AddedToken>, CheckpointError> {
        for key in EXTRA {
            match self.value(key) {
                None => {}
                Some(Value::Array(values)) if values.is_empty() => {}
                Some(Value::Array(values)) => {
                    return values.iter().map(|value| self.parse(key, value)).collect();
                }
                Some(Value::Object(map)) => {
                    return map.values().map(|value| self.parse(key, value)).collect();
                }
                Some(other) => return Err(self.error(key, "a list or an object of tokens", other)),
            }
        }
        Ok(Vec::new())
    }

    /// The tokens of `added_tokens_decoder`, by id.
    fn declared(&self) -> Result<Vec<AddedToken>, CheckpointError> {
        let Some(value) = self.value(ADDED_TOKENS) else {
            return Ok(Vec::new());
        };
        let map = value
            .as_object()
            .ok_or_else(|| self.error(ADDED_TOKENS, "an object of tokens by id", value))?;
        let mut by_id = BTreeMap::new();
        for (id, token) in map {
            let number: u32 = id.parse().map_err(|_| {
                self.error(ADDED_TOKENS, "token ids as keys", &Value::from(id.as_str()))
            })?;
            by_id.insert(number, self.parse(ADDED_TOKENS, token)?);
        }
        Ok(by_id.into_values().collect())
    }

    /// A token is a text, or an object that says how it is matched as well.
    fn parse(&self, key: &str, value: &Value) -> Result<AddedToken, CheckpointError> {
        let wrong = || self.error(key, "a token: a text, or an object with `content`", value);
        let (content, fields) = match value {
            Value::String(content) => (content, None),
            Value::Object(fields) => (
                match fields.get("content") {
                    Some(Value::String(content)) => content,
                    _ => return Err(wrong()),
                },
                Some(fields),
            ),
            _ => return Err(wrong()),
        };
        let named = key != ADDED_TOKENS;
        let flag = |name: &str| fields.and_then(|fields| fields.get(name)?.as_bool());
        let special = named || flag("special").unwrap_or(false);
        Ok(AddedToken::from(content.as_str(), special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)))
    }

    fn error(&self, key: &str, expected: &'static str, found: &Value) -> CheckpointError {
        CheckpointError::Key {
            file: self.file.clone(),
            key: key.to_owned(),
            expected,
            found: json::shown(found),
        }
    }
}
