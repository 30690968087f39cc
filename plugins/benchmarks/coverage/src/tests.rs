//! Models that are right, and mistakes that each benchmark sees.

mod alibi;
mod leftovers;
mod masks;
mod model;
mod rotations;
mod routers;
