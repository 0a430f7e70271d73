//! Training-aware behaviour: does a model refuse otherwise when it is told that its outputs train it?
//!
//! Items are requests, arms are frames in several wordings, and a judge makes one of six labels of an answer. Each of the three can be
//! the user's own file; what comes with the program holds nothing harmful.

pub mod arms;
pub mod cluster;
pub mod csv;
pub mod item;
pub mod label;
pub mod lexical;
pub mod openings;
mod source;
pub mod think;

pub use arms::{ArmSet, Frame, Placement};
pub use item::{ItemSet, TierItem};
pub use label::{Endpoint, Label};
pub use openings::Openings;
