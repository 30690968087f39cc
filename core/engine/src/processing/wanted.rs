//! Which weights somebody wants of a processed model.

use std::collections::BTreeSet;

/// All of them, or some.
pub(super) enum Wanted {
    All,
    Only(BTreeSet<String>),
}

impl Wanted {
    /// The weights of these names, and those that they are made with when they are not raw any more.
    pub(super) fn of(names: &[&str]) -> Self {
        let mut wanted = BTreeSet::new();
        for name in names {
            wanted.insert((*name).to_owned());
            if let Some(attn) = name.strip_suffix(".b_O") {
                wanted.extend(["b_V", "W_O"].map(|part| format!("{attn}.{part}")));
            }
        }
        Self::Only(wanted)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}
