//! tmp
use super::Kernel;
use crate::gpu::{Gpu, GpuTensor};
use crate::ops::{OpError, Result};
pub static KERNELS: &[Kernel] = &[];
pub fn matmul_nt(_: &Gpu, _: &GpuTensor, _: &GpuTensor, _: Option<&GpuTensor>) -> Result<GpuTensor> {
    Err(OpError::Unsupported("nt".into()))
}
pub fn matmul_nn(_: &Gpu, _: &GpuTensor, _: &GpuTensor, _: Option<GpuTensor>) -> Result<GpuTensor> {
    Err(OpError::Unsupported("nt".into()))
}
pub fn matmul_tn(_: &Gpu, _: &mut GpuTensor, _: &GpuTensor, _: &GpuTensor) -> Result<()> {
    Err(OpError::Unsupported("nt".into()))
}
