//! The paired evaluation: the same requests under frames that differ in one claim, every other circumstance held or measured.

pub mod analyse;
pub mod audit;
pub mod power;
pub mod row;
