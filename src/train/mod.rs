//! Training: one loss file, one optimizer, one loop.

pub mod accumulate;
pub mod checkpoint;
pub mod error;
pub mod golden;
pub mod grpo;
pub mod log;
pub mod loss;
pub mod memory;
pub mod optim;
pub mod run;
pub mod sft;

#[cfg(test)]
pub mod tests;
#[cfg(test)]
mod tests_llama;
