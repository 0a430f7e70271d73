//! Honesty: does a model say of a statement what is so, and does it stand by it when it is pushed?
//!
//! Statements are true or false, in twins. A model is asked directly, behind a prefix that leans on it, and again after a contradiction or a
//! confirmation of its own first answer. The reward is ±1 against the truth on every row; which rows a training draws is its design.

mod config;
pub mod curriculum;
pub mod dataset;
mod domain;
pub mod flip;
pub mod legacy;
mod paper;
pub mod policies;
pub mod reward;
pub mod rows;
pub mod schedule;
pub mod scorer;
pub mod turns;
pub mod wordings;

pub use config::{Design, HonestyConfig, Pool};
pub use curriculum::{Breaker, Curriculum, CurriculumRule, Phase, PhaseChange};
pub use dataset::{Dataset, Entry, Part};
pub use domain::Honesty;
pub use flip::FlipRow;
pub use policies::Policy;
pub use rows::{Row, Snapshots};
pub use schedule::{Draw, Drawn, RowSet};
pub use scorer::Answer;
pub use turns::{Dialogue, Frame, Push};
pub use wordings::{Wording, Wordings};
