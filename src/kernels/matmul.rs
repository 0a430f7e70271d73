//! tmp
use super::Kernel;
use crate::cpu::Cpu;
use crate::gpu::{Gpu, GpuTensor};
use crate::ops::{Ops, Result, TensorMeta};
pub static KERNELS: &[Kernel] = &[];
fn down(g: &Gpu, c: &Cpu<f64>, x: &GpuTensor) -> Result<<Cpu<f64> as Ops>::T> {
    c.upload(x.rows(), x.cols(), &g.read(x)?)
}
pub fn matmul_nt(g: &Gpu, x: &GpuTensor, w: &GpuTensor, _: Option<&GpuTensor>) -> Result<GpuTensor> {
    let c = Cpu::<f64>::new();
    let y = c.matmul_nt(&down(g, &c, x)?, &down(g, &c, w)?, None)?;
    g.upload(y.rows(), y.cols(), &c.read(&y)?)
}
pub fn matmul_nn(g: &Gpu, x: &GpuTensor, w: &GpuTensor, _: Option<GpuTensor>) -> Result<GpuTensor> {
    let c = Cpu::<f64>::new();
    let y = c.matmul_nn(&down(g, &c, x)?, &down(g, &c, w)?, None)?;
    g.upload(y.rows(), y.cols(), &c.read(&y)?)
}
pub fn matmul_tn(g: &Gpu, dw: &mut GpuTensor, dy: &GpuTensor, x: &GpuTensor) -> Result<()> {
    let c = Cpu::<f64>::new();
    let mut d = down(g, &c, dw)?;
    c.matmul_tn(&mut d, &down(g, &c, dy)?, &down(g, &c, x)?)?;
    g.write(dw, &c.read(&d)?)
}
