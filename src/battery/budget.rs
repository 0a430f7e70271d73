//! Device memory of a run: refused above its budget before any work, and what was held beside what was planned.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::BatteryConfig;
use super::error::{BatteryError, Result};
use super::folder::{read_json, write_json};
use super::lab::Lab;
use super::plan::widest;
use crate::config::{Size, gib};
use crate::ops::{DeviceMemory, Ops};
use crate::train::memory::{self, MemoryPlan};

/// `memory.json` of a run folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub device: String,
    /// What the run was allowed.
    pub vram: Option<Size>,
    /// Of the training that holds most, all prompts as long as the longest and all completions at the limit.
    pub planned: MemoryPlan,
    /// Tensors at the widest moment, in bytes: planned, and the most that a process of this run has held.
    pub planned_peak: u64,
    pub peak: u64,
}

/// In the run folder.
pub const FILE: &str = "memory.json";

impl Memory {
    /// Of a finished or unfinished run, if its device has memory of its own.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        if path.exists() { read_json(&path).map(Some) } else { Ok(None) }
    }

    /// One sentence.
    pub fn describe(&self) -> String {
        format!(
            "Device memory at the widest moment: {:.2} GiB of tensors, {:.2} GiB planned for the training that holds most.",
            gib(self.peak),
            gib(self.planned_peak)
        )
    }
}

impl<O: Ops> Lab<'_, O> {
    fn planned(&self, device: &DeviceMemory, config: &BatteryConfig) -> Result<MemoryPlan> {
        let training = widest(config, &self.source.checkpoint.config, self.positions);
        Ok(memory::plan(&training, device.max_binding, device.max_buffer)?)
    }

    /// Refuses a run whose widest training holds more than `vram`; `config` says which trainings there are.
    pub fn within_budget(&mut self, config: &BatteryConfig) -> Result<()> {
        let Some(device) = self.o.memory() else { return Ok(()) };
        let (plan, vram) = (self.planned(&device, config)?, config.vram);
        if let Some(Size(limit)) = vram.filter(|v| plan.total() > v.0) {
            self.folder.restore()?;
            return Err(BatteryError::Refused(format!(
                "the widest training would hold {:.2} GiB on {}, and vram allows {:.2} GiB. `probity plan \"{}\" --model {} --vram {:.2}GiB` shows the bytes and the settings that fit",
                gib(plan.total()),
                self.o.device_name(),
                gib(limit),
                self.dir().join("config.toml").display(),
                config.model,
                gib(limit)
            )));
        }
        let words = format!("Device memory: up to {:.2} GiB (staging included)", gib(plan.total()));
        let words = match vram {
            Some(v) => format!("{words} of the {:.2} GiB that vram allows", gib(v.0)),
            None => words,
        };
        self.reporter.borrow_mut().say(&words);
        Ok(())
    }

    /// Writes and says what was held.
    pub fn report_memory(&self, config: &BatteryConfig) -> Result<()> {
        let Some(device) = self.o.memory() else { return Ok(()) };
        let planned = self.planned(&device, config)?;
        let before = Memory::read(self.dir())?.map_or(0, |m| m.peak);
        let made = Memory {
            device: self.o.device_name(),
            vram: config.vram,
            planned_peak: planned.peak(),
            planned,
            peak: device.peak.max(before),
        };
        write_json(&self.dir().join(FILE), &made)?;
        self.reporter.borrow_mut().say(&made.describe());
        Ok(())
    }
}
