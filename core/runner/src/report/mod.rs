//! Reports: pure functions of what happened.

mod human;
mod json;
mod printable;
mod style;

pub use human::human;
pub(crate) use human::lines;
pub use json::{SCHEMA_VERSION, json};
pub use printable::{printable, shortened};
pub use style::Style;
