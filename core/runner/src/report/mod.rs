//! Reports: pure functions of what happened.

mod diagnosis;
mod human;
mod json;
mod printable;
mod result;
mod sensitivity;
mod style;

pub use human::{human, human_of_faults};
pub use json::{SCHEMA_VERSION, json};
pub use printable::{printable, shortened};
pub(crate) use result::lines;
pub use style::Style;
