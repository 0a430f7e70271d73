//! The paired evaluation: the same requests under frames that differ in one claim, every other circumstance held or measured.
//!
//! `config` → `plan` (cells, in the order in which they are asked) → `run` (rows, append-only; `engine` answers) → `judge`, `model_judge`,
//! `hand` (labels, a file a judge). A run is a folder (`folder`). `analyse` makes tables and statements
//! of it, `power` says beforehand what it could find, `audit` recomputes tables that others printed.

pub mod analyse;
pub mod audit;
pub mod config;
pub mod engine;
pub mod error;
pub mod folder;
pub mod hand;
pub mod inspect;
pub mod judge;
pub mod model_judge;
pub mod order;
pub mod pilot;
pub mod plan;
pub mod power;
pub mod precision;
pub mod row;
pub mod run;
#[cfg(test)]
mod tests;
