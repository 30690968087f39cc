//! Reports: pure functions of what happened.

mod human;
mod json;
mod style;

pub use human::human;
pub use json::{SCHEMA_VERSION, json};
pub use style::Style;
