//! The Hub's protocol and the cache, against a server on the loopback interface that speaks it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod connections;
mod downloads;
mod offline;
mod refusals;
mod settings;
mod support;
