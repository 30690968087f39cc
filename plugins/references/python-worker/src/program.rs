//! What runs in a Python.

use std::ffi::OsString;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tlbench_sdk::PluginError;

/// What the interpreter is given.
pub(crate) const BOOTSTRAP: &str = include_str!("worker/bootstrap.py");

/// Python modules that lie in the folder `worker` beside the file that names them: names and sources, in a slice. They
/// travel inside the plugin, so that the two cannot be out of step.
#[macro_export]
macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("worker/", $name, ".py")))),*]
    };
}

/// What all programs share; the bootstrap imports it, and the program's own, from the first frame. What a question means,
/// of which these are parts, is the same to all: an edit, its noise, an objective, what can be compared, and how.
pub(crate) const SHARED: &[(&str, &str)] = modules![
    "channel",
    "edits",
    "feeding",
    "installed",
    "measure",
    "noise",
    "objective",
    "precision",
    "protocol",
    "serving",
    "stimulus",
];

/// What a reference runs in Python.
#[derive(Debug)]
pub struct Program {
    /// The reference's id, which is also the name of its table in the config.
    pub reference: &'static str,
    /// The environment variable that names an interpreter.
    pub variable: &'static str,
    /// What is imported ahead of the modules, in this order.
    pub libraries: &'static [Library],
    /// Names and sources of its modules, as [`modules!`](crate::modules) gives them. `main` has a function `start` of
    /// what is installed and of a function that tells progress, which returns the functions that answer, by method;
    /// each takes parameters and a blob, and returns an answer and a blob.
    pub modules: &'static [(&'static str, &'static str)],
}

/// A library that a program needs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Library {
    /// As it is imported.
    pub module: &'static str,
    /// As it is installed.
    pub package: &'static str,
    /// The first release that will do; `None`: any.
    pub oldest: Option<&'static str>,
}

impl Program {
    /// What the environment says about the interpreter.
    pub(crate) fn python_from_environment(&self) -> Option<OsString> {
        std::env::var_os(self.variable)
    }

    /// How to name an interpreter, for one who has none.
    pub(crate) fn how_to_choose(&self) -> String {
        let names: Vec<_> = self
            .libraries
            .iter()
            .map(|library| library.module)
            .collect();
        let libraries = match names.as_slice() {
            [others @ .., last] if !others.is_empty() => {
                format!("{} and {last}", others.join(", "))
            }
            _ => names.concat(),
        };
        format!(
            "name a Python that has {libraries} {}",
            self.where_to_name()
        )
    }

    fn where_to_name(&self) -> String {
        format!(
            "in {}, or as `python` among the options of this reference",
            self.variable
        )
    }

    /// The first frame: all that the bootstrap has to know.
    pub(crate) fn manifest(&self) -> Result<Value, PluginError> {
        let mut modules = Map::new();
        for &(name, source) in SHARED.iter().chain(self.modules) {
            if modules.insert(name.to_owned(), json!(source)).is_some() {
                return Err(PluginError::internal(format!(
                    "{} has two modules `{name}`",
                    self.reference
                )));
            }
        }
        Ok(json!({
            "modules": modules,
            "libraries": self.libraries,
            "how_to_choose": self.how_to_choose(),
            "how_to_choose_another": format!("name another Python {}", self.where_to_name()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn library(module: &'static str) -> Library {
        Library {
            module,
            package: module,
            oldest: None,
        }
    }

    const LIBRARIES: [Library; 3] = [library("torch"), library("einops"), library("hooked")];

    fn program(libraries: &'static [Library]) -> Program {
        Program {
            reference: "hooked",
            variable: "HOOKED_PYTHON",
            libraries,
            modules: &[],
        }
    }

    #[test]
    fn what_a_python_has_to_have_is_listed() {
        let said = [1, 2, 3].map(|count| program(&LIBRARIES[..count]).how_to_choose());
        insta::assert_snapshot!(said.join("\n"), @"
        name a Python that has torch in HOOKED_PYTHON, or as `python` among the options of this reference
        name a Python that has torch and einops in HOOKED_PYTHON, or as `python` among the options of this reference
        name a Python that has torch, einops and hooked in HOOKED_PYTHON, or as `python` among the options of this reference
        ");
    }

    #[test]
    fn a_module_that_all_programs_share_is_not_replaced() {
        let program = Program {
            modules: &[("main", ""), ("channel", "")],
            ..program(&LIBRARIES)
        };
        let error = program.manifest().unwrap_err();
        assert_eq!(error.message, "hooked has two modules `channel`");
    }
}
