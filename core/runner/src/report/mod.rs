//! Reports: pure functions of what happened.

mod human;
mod json;
mod printable;
mod result;
mod style;

pub use human::human;
pub use json::{SCHEMA_VERSION, json};
pub use printable::{printable, shortened};
pub(crate) use result::lines;
pub use style::Style;
