//! Which config keys a class of HF reads.

/// Written by `hf_keys.py`.
const TABLE: &str = include_str!("hf_keys.txt");

/// The config keys that change what `class` of transformers computes; `None` for one that is not known.
pub(crate) fn read_by(class: &str) -> Option<impl Iterator<Item = &'static str>> {
    let entries = TABLE.lines().filter_map(|line| line.split_once(": "));
    let (_, keys) = entries.into_iter().find(|(name, _)| *name == class)?;
    Some(keys.split_whitespace())
}
