//! Training-aware behaviour: does a model refuse otherwise when it is told that its outputs train it?

pub mod csv;
pub mod label;

pub use label::{Endpoint, Label};
