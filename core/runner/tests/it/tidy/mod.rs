//! What ARCHITECTURE.md promises of the sources, and no compiler checks.

mod manifests;
mod sizes;
mod sources;
