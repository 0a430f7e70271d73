//! Listing adapters and choosing one by the words of `--device`.

use super::caps::COOPERATIVE;
use super::errors::DeviceError;
use std::fmt;
use std::str::FromStr;
use wgpu::{Backend, Backends, DeviceType};

/// An adapter found on this machine.
pub struct Adapter {
    /// Position in [`list_adapters`], the `N` of `index:N`.
    pub index: usize,
    pub info: wgpu::AdapterInfo,
    pub limits: wgpu::Limits,
    pub features: wgpu::Features,
    pub(super) handle: wgpu::Adapter,
}

impl Adapter {
    /// Rendered by a program on the CPU (lavapipe, WARP).
    pub fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }

    pub fn name_and_backend(&self) -> String {
        format!("{} ({})", self.info.name, self.backend())
    }

    /// What kind of device it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.info.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software",
            DeviceType::Other => "unknown",
        }
    }

    /// Size of its matrix units' square products in f16 with sums in f32: 16, 8, or 0 without such.
    pub fn cooperative(&self) -> u32 {
        use wgpu::CooperativeScalarType::{F16, F32};
        if !self.features.contains(COOPERATIVE) {
            return 0;
        }
        let found = self.handle.cooperative_matrix_properties();
        let fits = |n: u32| {
            found.iter().any(|c| [c.m_size, c.n_size, c.k_size] == [n; 3] && (c.ab_type, c.cr_type) == (F16, F32))
        };
        [16, 8].into_iter().find(|&n| fits(n)).unwrap_or(0)
    }

    /// Shapes of products that its matrix units do, e.g. `16x16x16 f16 to f32`.
    pub fn cooperative_shapes(&self) -> Vec<String> {
        let one = |c: &wgpu::CooperativeMatrixProperties| {
            let names = format!("{:?} to {:?}", c.ab_type, c.cr_type).to_lowercase();
            format!("{}x{}x{} {names}", c.m_size, c.n_size, c.k_size)
        };
        self.handle.cooperative_matrix_properties().iter().map(one).collect()
    }

    /// The graphics interface it is reached through.
    pub fn backend(&self) -> &'static str {
        match self.info.backend {
            Backend::Vulkan => "Vulkan",
            Backend::Metal => "Metal",
            Backend::Dx12 => "DX12",
            Backend::Gl => "GL",
            Backend::BrowserWebGpu => "WebGPU",
            Backend::Noop => "no-op",
        }
    }

    /// wgpu's names of the adapter's features.
    pub fn feature_names(&self) -> Vec<&'static str> {
        self.features.iter_names().map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index:{} {}", self.index, self.name_and_backend())
    }
}

/// Every adapter of every native backend, Vulkan and Metal before DX12: the same card behind both is better served by Vulkan.
pub fn list_adapters() -> Vec<Adapter> {
    let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
    desc.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let instance = wgpu::Instance::new(desc);
    let mut found = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    found.sort_by_key(|a| a.get_info().backend == Backend::Dx12);
    found
        .into_iter()
        .enumerate()
        .map(|(index, handle)| Adapter {
            index,
            info: handle.get_info(),
            limits: handle.limits(),
            features: handle.features(),
            handle,
        })
        .collect()
}

/// The value of `--device`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum DeviceSpec {
    /// A discrete GPU, else an integrated one, else the CPU backend.
    #[default]
    Auto,
    Cpu,
    Index(usize),
    /// First adapter whose name contains the text, in any case.
    Name(String),
    /// PCI bus id as `probity devices` prints it; the domain `0000:` may be left out.
    Pci(String),
    /// That GPU (for `auto` also a software adapter) side by side with the CPU backend.
    Check(Box<DeviceSpec>),
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Spec(text.to_string());
        match text.split_once(':').unwrap_or((text, "")) {
            ("auto", "") => Ok(Self::Auto),
            ("cpu", "") => Ok(Self::Cpu),
            ("index", n) => n.parse().map(Self::Index).map_err(|_| unknown()),
            ("name", t) if !t.is_empty() => Ok(Self::Name(t.to_string())),
            ("pci", t) if !t.is_empty() => Ok(Self::Pci(t.to_string())),
            ("check", "") => Ok(Self::Check(Box::default())),
            ("check", inner) => match inner.parse()? {
                Self::Check(_) | Self::Cpu => Err(unknown()),
                spec => Ok(Self::Check(Box::new(spec))),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Index(n) => write!(f, "index:{n}"),
            Self::Name(t) => write!(f, "name:{t}"),
            Self::Pci(t) => write!(f, "pci:{t}"),
            Self::Check(inner) => write!(f, "check:{inner}"),
        }
    }
}

/// What a [`DeviceSpec`] comes to on this machine.
pub enum Selected {
    Cpu,
    Gpu(Adapter),
    /// That GPU and the CPU backend, side by side.
    Check(Adapter),
}

/// Resolves a spec among this machine's adapters.
pub fn select(spec: &DeviceSpec) -> Result<Selected, DeviceError> {
    if *spec == DeviceSpec::Cpu {
        return Ok(Selected::Cpu);
    }
    let adapters = list_adapters();
    let kinds: Vec<Candidate> = adapters.iter().map(Candidate::of).collect();
    let take = |at: usize| adapters.into_iter().nth(at).ok_or(DeviceError::NoAdapter);
    match spec {
        DeviceSpec::Auto => choose(spec, &kinds)?.map_or(Ok(Selected::Cpu), |at| take(at).map(Selected::Gpu)),
        DeviceSpec::Check(inner) => {
            let software = || kinds.iter().position(|c| c.device_type == DeviceType::Cpu);
            let at = choose(inner, &kinds)?.or_else(software).ok_or(DeviceError::NoAdapter)?;
            take(at).map(Selected::Check)
        }
        _ => choose(spec, &kinds)?.map_or(Err(DeviceError::NoAdapter), |at| take(at).map(Selected::Gpu)),
    }
}

/// What the choice depends on.
struct Candidate {
    text: String,
    name: String,
    pci: String,
    device_type: DeviceType,
}

impl Candidate {
    fn of(a: &Adapter) -> Self {
        Self {
            text: a.to_string(),
            name: a.info.name.to_lowercase(),
            pci: a.info.device_pci_bus_id.to_lowercase(),
            device_type: a.info.device_type,
        }
    }
}

/// Position of the adapter that a spec (not `check`) means; `None` = the CPU backend.
fn choose(spec: &DeviceSpec, found: &[Candidate]) -> Result<Option<usize>, DeviceError> {
    let of_type = |t: DeviceType| found.iter().position(|c| c.device_type == t);
    let named = |hit: Option<usize>| match (hit, found.is_empty()) {
        (Some(at), _) => Ok(Some(at)),
        (None, true) => Err(DeviceError::NoAdapter),
        (None, false) => Err(DeviceError::NotFound {
            spec: spec.to_string(),
            found: found.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(", "),
        }),
    };
    match spec {
        DeviceSpec::Auto => Ok(of_type(DeviceType::DiscreteGpu)
            .or_else(|| of_type(DeviceType::IntegratedGpu))
            .or_else(|| of_type(DeviceType::VirtualGpu))),
        DeviceSpec::Cpu | DeviceSpec::Check(_) => Ok(None),
        DeviceSpec::Index(n) => named((*n < found.len()).then_some(*n)),
        DeviceSpec::Name(text) => named(found.iter().position(|c| c.name.contains(&text.to_lowercase()))),
        DeviceSpec::Pci(bus) => {
            let short = |s: &str| s.strip_prefix("0000:").unwrap_or(s).to_lowercase();
            named(found.iter().position(|c| !c.pci.is_empty() && short(&c.pci) == short(bus)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(types: &[DeviceType]) -> Vec<Candidate> {
        types
            .iter()
            .enumerate()
            .map(|(i, &device_type)| Candidate {
                text: format!("index:{i}"),
                name: format!("card {i}"),
                pci: format!("0000:0{i}:00.0"),
                device_type,
            })
            .collect()
    }

    #[test]
    fn specs_parse_and_print_back() {
        for text in ["auto", "cpu", "index:2", "name:Radeon RX", "pci:0000:01:00.0", "check:auto", "check:name:llvm"] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
        assert_eq!("check".parse::<DeviceSpec>().unwrap(), DeviceSpec::Check(Box::new(DeviceSpec::Auto)));
        for text in ["", "gpu", "index:", "index:-1", "name:", "pci:", "check:cpu", "check:check", "auto:1"] {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn auto_prefers_discrete_then_integrated_and_never_software() {
        use DeviceType::*;
        let auto = |types: &[DeviceType]| choose(&DeviceSpec::Auto, &machine(types)).unwrap();
        assert_eq!(auto(&[Cpu, IntegratedGpu, DiscreteGpu]), Some(2));
        assert_eq!(auto(&[Cpu, IntegratedGpu]), Some(1));
        assert_eq!(auto(&[Cpu]), None);
        assert_eq!(auto(&[]), None);
    }

    #[test]
    fn names_indices_and_buses_find_adapters_and_misses_list_them() {
        let found = machine(&[DeviceType::Cpu, DeviceType::DiscreteGpu]);
        let at = |text: &str| choose(&text.parse().unwrap(), &found);
        assert_eq!(at("name:CARD 1").unwrap(), Some(1));
        assert_eq!(at("index:0").unwrap(), Some(0));
        assert_eq!(at("pci:01:00.0").unwrap(), Some(1));
        let miss = at("name:voodoo").unwrap_err().to_string();
        assert!(miss.contains("voodoo") && miss.contains("index:0, index:1"), "{miss}");
        assert!(matches!(choose(&DeviceSpec::Index(0), &[]), Err(DeviceError::NoAdapter)));
    }
}
