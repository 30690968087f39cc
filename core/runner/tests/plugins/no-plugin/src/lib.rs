//! A library like any other: it has no stamp.
