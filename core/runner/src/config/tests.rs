//! What the file says, what wins over it, and what is said of a file that is wrong.

mod errors;
mod files;
mod overrides;

use std::path::Path;

use super::*;

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("project/tlbench.toml")).unwrap()
}

fn problems(text: &str) -> String {
    Config::parse(text, Path::new("tlbench.toml"))
        .unwrap_err()
        .to_string()
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap()
}
