//! Probity: did reinforcement training instil a disposition, or surface compliance?
//!
//! The floors, from the ground up; a floor uses only floors above it in this list (`stats` and `domain` stand on the
//! ground and import nothing of the engine). See `ARCHITECTURE.md`.

pub mod durable;

pub mod config;

pub mod stats;

pub mod domain;

pub mod ops;

pub mod kernels;

pub mod cpu;

pub mod gpu;

pub mod hub;

pub mod model;

pub mod text;

pub mod generate;

pub mod train;

pub mod battery;

pub mod pair;

pub mod report;

pub mod cli;
