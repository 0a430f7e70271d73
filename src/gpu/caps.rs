//! What a device may use: the adapter's abilities, cut down to what the kernels need.

use super::adapters::Adapter;
use super::errors::DeviceError;
use wgpu::Features;

/// What matrix units of f16 need.
pub(super) const COOPERATIVE: Features = Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16);

/// How to open a device; the defaults are for use, the rest exists so that tests can force a poorer device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Do without subgroup operations.
    pub disable_subgroups: bool,
    /// Do without timestamps, which profiles need.
    pub disable_timestamps: bool,
    /// Use matrix units where the device has them: products in f16 whose bits depend on the number of rows.
    pub fast: bool,
    /// Bind at most this many bytes at once.
    pub max_binding: Option<u64>,
    /// No limit above WebGPU's defaults, and the variants for hardware also on a software adapter.
    pub poor: bool,
    /// Compile with wgpu's bounds checks and loop guards.
    pub checked_shaders: bool,
    /// Assume these rates, FLOP/s and bytes/s, instead of those of the device's type: they say how fine work is cut.
    pub rates: Option<[f64; 2]>,
}

impl GpuOptions {
    /// The device that tests call poor: WebGPU's default limits, no subgroups, bindings of 4 MiB, hardware's variants.
    pub fn poor() -> Self {
        Self {
            disable_subgroups: true,
            max_binding: Some(4 << 20),
            poor: true,
            checked_shaders: true,
            ..Self::default()
        }
    }
}

/// Abilities of an opened device, on which the choice of kernel variants depends.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// The adapter is a program (lavapipe, WARP), not hardware.
    pub software: bool,
    /// Smallest and largest subgroup; 0 when subgroup operations are absent or disabled.
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    /// Size of the products of matrix units, where they are there and asked for, else 0: see
    /// [`Needs::Cooperative`](crate::kernels::Needs).
    pub cooperative: u32,
    /// The device can say when a pass began and ended.
    pub timestamps: bool,
    /// Largest storage binding in bytes, a multiple of 256.
    pub max_binding: u64,
    pub max_buffer: u64,
    /// Assumed arithmetic rate, FLOP/s, and memory rate, bytes/s. They only decide how often work is submitted and how far a
    /// dispatch is split, never what is computed.
    pub flop_rate: f64,
    pub byte_rate: f64,
}

impl Caps {
    /// Offset alignment of bindings that the program relies on: WebGPU's default.
    pub const ALIGN: u64 = 256;
    /// Bytes of immediates every kernel may use: sixteen u32.
    pub const IMMEDIATE_BYTES: u32 = 64;
    /// Workgroups per dimension of a dispatch.
    pub const MAX_GROUPS: usize = 65535;

    /// What a device opened with these options may use; an error when the adapter cannot serve at all.
    pub fn of(adapter: &Adapter, options: &GpuOptions) -> Result<Caps, DeviceError> {
        if !adapter.features.contains(Features::IMMEDIATES) || adapter.limits.max_immediate_size < Self::IMMEDIATE_BYTES
        {
            return Err(DeviceError::NoImmediates { adapter: adapter.to_string() });
        }
        let poor = wgpu::Limits::defaults();
        let subgroups = adapter.features.contains(Features::SUBGROUP) && !options.disable_subgroups;
        let one_size = adapter.info.subgroup_min_size == adapter.info.subgroup_max_size;
        let cooperative = if options.fast && subgroups && one_size { adapter.cooperative() } else { 0 };
        let cap = |have: u64, default: u64| if options.poor { have.min(default) } else { have };
        let binding = cap(adapter.limits.max_storage_buffer_binding_size, poor.max_storage_buffer_binding_size)
            .min(options.max_binding.unwrap_or(u64::MAX));
        let assumed = match adapter.info.device_type {
            wgpu::DeviceType::DiscreteGpu => [2e12, 100e9],
            wgpu::DeviceType::Cpu => [20e9, 4e9],
            _ => [100e9, 20e9],
        };
        let [flop_rate, byte_rate] = options.rates.unwrap_or(assumed);
        Ok(Caps {
            software: adapter.is_software() && !options.poor,
            subgroup_min: if subgroups { adapter.info.subgroup_min_size } else { 0 },
            subgroup_max: if subgroups { adapter.info.subgroup_max_size } else { 0 },
            cooperative,
            timestamps: adapter.features.contains(Features::TIMESTAMP_QUERY) && !options.disable_timestamps,
            max_binding: binding / Self::ALIGN * Self::ALIGN,
            max_buffer: cap(adapter.limits.max_buffer_size, poor.max_buffer_size),
            flop_rate,
            byte_rate,
        })
    }

    /// Features to request.
    pub(crate) fn features(&self) -> Features {
        let subgroups = if self.subgroup_min > 0 { Features::SUBGROUP } else { Features::empty() };
        let matrices = if self.cooperative > 0 { COOPERATIVE } else { Features::empty() };
        let timestamps = if self.timestamps { Features::TIMESTAMP_QUERY } else { Features::empty() };
        Features::IMMEDIATES | subgroups | matrices | timestamps
    }

    /// Limits to request: WebGPU's defaults, raised only where the kernels can use more.
    pub(crate) fn limits(&self) -> wgpu::Limits {
        wgpu::Limits {
            max_storage_buffer_binding_size: self.max_binding,
            max_buffer_size: self.max_buffer,
            max_immediate_size: Self::IMMEDIATE_BYTES,
            ..wgpu::Limits::defaults()
        }
    }
}
