//! Which hooks are meant.

use globset::Glob;
use tlbench_sdk::HookPoint;

use crate::error::EngineError;

/// Which hooks of a model are meant. Texts are names, or globs over them (`blocks.*.attn.hook_z`); each has to mean one
/// hook at least. A gated hook that is meant fires.
pub struct HookNames<'f>(Choice<'f>);

enum Choice<'f> {
    Texts(Vec<String>),
    Predicate(Box<dyn Fn(&HookPoint) -> bool + 'f>),
}

impl<'f> HookNames<'f> {
    /// Those that `predicate` accepts, which may be none.
    pub fn matching(predicate: impl Fn(&HookPoint) -> bool + 'f) -> Self {
        Self(Choice::Predicate(Box::new(predicate)))
    }

    /// Those that fire without being asked for.
    pub fn ungated() -> Self {
        Self::matching(|hook| hook.gate.is_none())
    }

    /// The names among those of `hooks`, which are `expected` in words.
    pub(crate) fn among(
        &self,
        hooks: &[HookPoint],
        expected: &str,
    ) -> Result<Vec<String>, EngineError> {
        let texts = match &self.0 {
            Choice::Texts(texts) => texts,
            Choice::Predicate(predicate) => {
                let accepted = hooks.iter().filter(|hook| predicate(hook));
                return Ok(accepted.map(|hook| hook.name.clone()).collect());
            }
        };
        let mut is_meant = vec![false; hooks.len()];
        for text in texts {
            let glob = Glob::new(text).map_err(|error| {
                EngineError::request(text, "a name or a glob", error.kind().to_string())
            })?;
            let glob = glob.compile_matcher();
            let matches: Vec<bool> = hooks.iter().map(|h| glob.is_match(&h.name)).collect();
            if !matches.contains(&true) {
                return Err(EngineError::request(text, expected, "none that it matches"));
            }
            for (is_meant, matches) in is_meant.iter_mut().zip(matches) {
                *is_meant |= matches;
            }
        }
        let meant = hooks.iter().zip(is_meant).filter(|(_, is_meant)| *is_meant);
        Ok(meant.map(|(hook, _)| hook.name.clone()).collect())
    }
}

impl From<&str> for HookNames<'_> {
    fn from(text: &str) -> Self {
        Self(Choice::Texts(vec![text.to_owned()]))
    }
}

impl From<String> for HookNames<'_> {
    fn from(text: String) -> Self {
        Self(Choice::Texts(vec![text]))
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for HookNames<'_> {
    fn from(texts: [S; N]) -> Self {
        Self(Choice::Texts(texts.map(Into::into).into()))
    }
}

impl<S: Into<String>> From<Vec<S>> for HookNames<'_> {
    fn from(texts: Vec<S>) -> Self {
        Self(Choice::Texts(texts.into_iter().map(Into::into).collect()))
    }
}
