//! Where the Hub is, where its files are kept, and who asks: as Python's `huggingface_hub` reads it from the
//! environment, so that both share one cache and one login.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::origin;
use crate::error::HubError;

const ENDPOINT: &str = "https://huggingface.co";
/// For an answer to begin, and between two pieces of it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How the Hub is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// The address of the Hub, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// Who asks: `HF_TOKEN`, else what the login left in `HF_TOKEN_PATH`.
    pub token: Option<Token>,
    /// Whether nothing is asked of the Hub: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// How long the Hub may take.
    pub patience: Patience,
}

/// How long the Hub may take, and how often it may fail.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until an answer begins: `HF_HUB_ETAG_TIMEOUT`.
    pub answer: Duration,
    /// Between two pieces of a file: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub read: Duration,
    /// Attempts in a row that may fail, without a byte arriving.
    pub attempts: u32,
    /// Before the second attempt; twice as long before each later one.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: TIMEOUT,
            read: TIMEOUT,
            attempts: 5,
            wait: Duration::from_secs(1),
        }
    }
}

/// A secret. It goes to the Hub's own address, and is never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// `text` without the white space around it; nothing is no token.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// As the header `Authorization` has it.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether it can stand in a header.
    fn is_sendable(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Settings {
    /// What the environment of this process says.
    ///
    /// # Errors
    /// If what it says is of no use.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::from_variables(&|name| std::env::var_os(name))
    }

    /// What `variable` says; a variable without content counts as absent.
    ///
    /// # Errors
    /// If what it says is of no use.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let variables = Variables(variable);
        let home = variables.hugging_face_home();
        let cache = variables
            .path("HF_HUB_CACHE")
            .or_else(|| variables.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or(HubError::NoHome)?;
        let endpoint = variables.text("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or(ENDPOINT);
        if origin(endpoint).is_none() {
            let found = endpoint.to_owned();
            return Err(HubError::Endpoint { found });
        }
        let default = Patience::default();
        Ok(Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: variables.token(home.as_deref())?,
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
                .iter()
                .find_map(|name| variables.text(name))
                .is_some_and(|word| is_true(&word)),
            patience: Patience {
                answer: variables
                    .seconds("HF_HUB_ETAG_TIMEOUT")
                    .unwrap_or(default.answer),
                read: variables
                    .seconds("HF_HUB_DOWNLOAD_TIMEOUT")
                    .unwrap_or(default.read),
                ..default
            },
        })
    }
}

/// Whether a variable says yes, as Python's `huggingface_hub` understands it.
pub fn is_true(word: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&word.to_ascii_lowercase().as_str())
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let text = (self.0)(name)?.to_string_lossy().into_owned();
        (!text.trim().is_empty()).then_some(text)
    }

    /// A path, with `~` and variables in it replaced.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name)?;
        let text = match (text.strip_prefix('~'), self.home()) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", home.display())
            }
            _ => text,
        };
        Some(self.expanded(&text).into())
    }

    /// `text` with what `$NAME` and `${NAME}` stand for; those that stand for nothing stay.
    fn expanded(&self, text: &str) -> String {
        let (before, rest) = match text.split_once('$') {
            Some(parts) => parts,
            None => return text.to_owned(),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some(braced) => braced,
            None => rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len())),
        };
        let value = self.text(name);
        let value = value.unwrap_or_else(|| format!("${}", &rest[..rest.len() - after.len()]));
        format!("{before}{value}{}", self.expanded(after))
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        let seconds: u64 = self.text(name)?.trim().parse().ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    fn home(&self) -> Option<PathBuf> {
        let given = self.text("HOME").map(PathBuf::from);
        given.or_else(std::env::home_dir)
    }

    fn hugging_face_home(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| {
            let caches = self.path("XDG_CACHE_HOME");
            let caches = caches.or_else(|| Some(self.home()?.join(".cache")));
            Some(caches?.join("huggingface"))
        })
    }

    fn token(&self, home: Option<&Path>) -> Result<Option<Token>, HubError> {
        let implicit = self.text("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        if implicit.is_some_and(|word| is_true(&word)) {
            return Ok(None);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(token) = self.text(name).and_then(|text| Token::new(&text)) {
                return sendable(token, name).map(Some);
            }
        }
        let named = self.path("HF_TOKEN_PATH");
        let Some(file) = named.or_else(|| Some(home?.join("token"))) else {
            return Ok(None);
        };
        match fs::read_to_string(&file) {
            Ok(text) => Token::new(&text)
                .map(|token| sendable(token, &file.display().to_string()))
                .transpose(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HubError::io(file, "read")(error)),
        }
    }
}

fn sendable(token: Token, from: &str) -> Result<Token, HubError> {
    if token.is_sendable() {
        Ok(token)
    } else {
        Err(HubError::Token {
            from: from.to_owned(),
        })
    }
}
