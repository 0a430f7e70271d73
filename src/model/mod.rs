//! Qwen2 and Llama: configuration, weights, forward, backward, KV cache, hooks; generic over the device.

pub mod batch;
pub mod cache;
pub mod config;
pub mod error;
pub mod gguf;
pub mod golden;
pub mod hooks;
pub mod init;
pub mod lora;
pub mod params;
pub mod peft;
pub mod qwen2;
pub mod save;
pub mod tensor_file;
pub mod tensor_writer;
pub mod weights;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_golden;
#[cfg(test)]
mod tests_io;
#[cfg(test)]
mod tests_llama;

pub use error::ModelError;
