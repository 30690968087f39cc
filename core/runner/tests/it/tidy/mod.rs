//! What ARCHITECTURE.md promises of the sources, and no compiler checks.

mod adapters;
mod manifests;
mod sizes;
mod sources;
