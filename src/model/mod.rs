//! Qwen2: configuration, weights, forward, backward, KV cache, hooks; generic over the device.

pub mod batch;
pub mod cache;
pub mod config;
pub mod hooks;
pub mod init;
pub mod params;
pub mod qwen2;
#[cfg(test)]
mod tests;
