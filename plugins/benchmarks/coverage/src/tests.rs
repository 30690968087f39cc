//! Models that are right, and mistakes that each benchmark sees.
