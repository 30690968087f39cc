//! A program that does what it is told to.

use crate::{Library, Method, Program};

pub(super) static PROGRAM: Program = Program {
    reference: "fake",
    variable: "TLBENCH_FAKE_PYTHON",
    libraries: &[Library {
        module: "torch",
        package: "torch",
        oldest: Some("2.4"),
    }],
    modules: crate::modules!["main"],
};

pub(super) const HAPPEN: Method = Method {
    name: "happen",
    doing: "letting it happen",
};

/// One that the program does not have.
pub(super) const UNKNOWN: Method = Method {
    name: "guess",
    doing: "guessing",
};
