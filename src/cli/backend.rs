//! From `--device` to a backend.

use std::error::Error;

use crate::battery::error::BatteryError;
use crate::cpu::Cpu;
use crate::gpu::{Adapter, DeviceSpec, Gpu, GpuOptions, Selected, select};
use crate::model::ModelError;
use crate::ops::checked::Checked;
use crate::ops::{OpError, Ops};
use crate::train::error::TrainError;

/// Work that can run on any backend.
pub trait Job {
    type Out;
    /// Run again, it goes on from what it saved. Then a lost device is opened again, once.
    const GOES_ON: bool = false;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>>;
    /// Tells the person that the device was lost and what happens now, also one who wants no progress.
    fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

/// `--device` of every command that computes.
#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// auto, cpu, index:N, name:TEXT, pci:BUS, or check[:SELECTOR] (GPU and CPU side by side); see `probity devices`
    #[arg(long, default_value = "auto", value_name = "SELECTOR")]
    pub device: DeviceSpec,
    /// Matrix units of the GPU for large products: several times faster, in f16, so that the log-probabilities of sampling and training
    /// differ a little and depend on the size of a batch
    #[arg(long)]
    pub fast: bool,
    /// Features of the GPU to do without, several with commas: to see whether a driver's fault lies there
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    pub without: Vec<Feature>,
}

/// What a GPU may offer and Probity can do without.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Operations among the lanes of a subgroup
    Subgroups,
    /// Matrix units, which --fast asks for
    CooperativeMatrix,
    /// Shaders without bounds checks and loop guards
    UncheckedShaders,
    /// Timestamps of the device, which `probity bench --what profile` needs
    Timestamps,
}

impl DeviceArgs {
    /// How the GPU is opened.
    fn options(&self) -> GpuOptions {
        let without = |f| self.without.contains(&f);
        GpuOptions {
            fast: self.fast && !without(Feature::CooperativeMatrix),
            disable_subgroups: without(Feature::Subgroups),
            checked_shaders: without(Feature::UncheckedShaders),
            disable_timestamps: without(Feature::Timestamps),
            ..GpuOptions::default()
        }
    }

    fn open(&self, adapter: &Adapter, options: &GpuOptions) -> Result<Gpu, Box<dyn Error>> {
        let gpu = Gpu::open(adapter, options)?;
        if options.fast && gpu.caps().cooperative == 0 {
            eprintln!("--fast: {} has no matrix units that Probity can use; nothing changes.", gpu.name());
        }
        Ok(gpu)
    }

    /// Opens the device and runs the job on it.
    pub fn run<J: Job>(&self, job: J) -> Result<J::Out, Box<dyn Error>> {
        let options = self.options();
        once_more(job, |job| match select(&self.device)? {
            Selected::Cpu => {
                if options.fast {
                    eprintln!("--fast: the CPU backend has no matrix units; nothing changes.");
                }
                job.run(&Cpu::<f32>::new())
            }
            Selected::Gpu(adapter) => job.run(&self.open(&adapter, &options)?),
            Selected::Check(_) if options.fast => Err(
                "--fast: its products are rounded to f16, which --device check would report. Leave one of the two out"
                    .into(),
            ),
            Selected::Check(adapter) => {
                let gpu = self.open(&adapter, &options)?;
                job.run(&Checked::new(gpu, Cpu::<f32>::new(), Checked::<Gpu, Cpu<f32>>::BOUND))
            }
        })
    }
}

/// The device was lost, and lost again after it was opened anew.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}. It is the second loss in this run. Lower micro_batch_tokens (in [grpo], of a pre-training in [batch]), close other programs that use the device or update its driver; then the same command goes on from the last checkpoint"
)]
struct LostAgain(String);

/// Runs the job; once more if it goes on from what it saved and the device was lost. `attempt` opens a device each time.
fn once_more<J: Job>(
    mut job: J,
    mut attempt: impl FnMut(&mut J) -> Result<J::Out, Box<dyn Error>>,
) -> Result<J::Out, Box<dyn Error>> {
    let first = match attempt(&mut job) {
        Err(e) if J::GOES_ON && lost(&*e) => e,
        result => return result,
    };
    job.note(&format!("{first}\nThe device is opened again, once, and the run goes on from the last checkpoint."));
    attempt(&mut job).map_err(|e| if lost(&*e) { LostAgain(e.to_string()).into() } else { e })
}

fn lost(e: &(dyn Error + 'static)) -> bool {
    within(e).any(|e| matches!(e.downcast_ref(), Some(OpError::Lost { .. })))
}

/// An error and its causes, also those that a transparent variant does not report as its source.
pub fn within<'e>(e: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(e), |&e| -> Option<&'e (dyn Error + 'static)> {
        match e.downcast_ref() {
            Some(BatteryError::Train(inner)) => return Some(inner),
            Some(BatteryError::Model(inner)) => return Some(inner),
            Some(BatteryError::Op(inner)) => return Some(inner),
            _ => {}
        }
        match e.downcast_ref() {
            Some(TrainError::Op(inner)) => return Some(inner),
            Some(TrainError::Data(inner)) => return Some(&**inner),
            _ => {}
        }
        match e.downcast_ref() {
            Some(ModelError::Op(inner)) => Some(inner),
            _ => e.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;

    use super::*;
    use crate::gpu::list_adapters;
    use crate::train::run::{Metrics, Observer, RunConfig};
    use crate::train::tests::{lines, train_until, weights};

    type Destroy = RefCell<Option<Box<dyn Fn()>>>;

    /// A training that loses its device before step 3, as often as `losses` says.
    struct Losing<'a> {
        dir: &'a Path,
        losses: u32,
        destroy: &'a Destroy,
        said: &'a RefCell<Vec<String>>,
    }

    struct Notes<'a>(&'a RefCell<Vec<String>>);
    impl Observer for Notes<'_> {
        fn step(&mut self, _: u64, _: u64, _: &Metrics) {}
        fn note(&mut self, text: &str) {
            self.0.borrow_mut().push(text.into());
        }
    }

    impl Job for Losing<'_> {
        type Out = Vec<Vec<u32>>;
        const GOES_ON: bool = true;
        fn note(&mut self, text: &str) {
            self.said.borrow_mut().push(text.into());
        }
        fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
            let c = RunConfig { max_steps: 4, save_steps: 2, ..Default::default() };
            let losses = &mut self.losses;
            let mut lose = || {
                if *losses > 0 {
                    *losses -= 1;
                    self.destroy.borrow().iter().for_each(|d| d());
                }
                Ok(())
            };
            let (state, ended) = train_until(o, self.dir, &c, (3, &mut lose), &mut Notes(self.said));
            // As the battery reports it.
            ended.map_err(BatteryError::from)?;
            Ok(weights(o, &state))
        }
    }

    #[test]
    fn a_lost_device_is_opened_once_more_and_the_bytes_are_the_same() {
        let adapters = list_adapters();
        let adapter = adapters.first().expect("a graphics adapter (apt-get install mesa-vulkan-drivers)");
        let destroy: Destroy = RefCell::new(None);
        let run = |dir: &Path, losses, said: &RefCell<Vec<String>>| {
            once_more(Losing { dir, losses, destroy: &destroy, said }, |job| {
                let gpu = Gpu::open(adapter, &GpuOptions::default())?;
                *destroy.borrow_mut() = Some(Box::new(gpu.destroyer()));
                job.run(&gpu)
            })
        };
        let dirs = [0, 1, 2].map(|_| tempfile::tempdir().unwrap());
        let said = RefCell::new(Vec::new());
        let whole = run(dirs[0].path(), 0, &said).unwrap();
        assert!(said.borrow().is_empty());

        let again = run(dirs[1].path(), 1, &said).unwrap();
        assert!(whole == again, "other weights or moments after the loss");
        for file in ["metrics.jsonl", "completions.jsonl"] {
            assert_eq!(lines(dirs[0].path(), file), lines(dirs[1].path(), file), "{file}");
        }
        let notes = said.take();
        assert!(notes[0].contains("the device was lost") && notes[0].contains("opened again, once"), "{notes:?}");
        assert!(notes[1].contains("resuming at step 2"), "{notes:?}");

        let error = run(dirs[2].path(), 9, &said).unwrap_err().to_string();
        assert!(error.contains("kernel ") && error.contains("Lower micro_batch_tokens"), "{error}");
        assert_eq!(said.take().iter().filter(|n| n.contains("opened again")).count(), 1);
    }

    #[test]
    fn only_a_loss_is_tried_again_and_only_by_jobs_that_go_on() {
        struct Stubborn;
        impl Job for Stubborn {
            type Out = ();
            fn run<O: Ops>(&mut self, _: &O) -> Result<(), Box<dyn Error>> {
                Ok(())
            }
        }
        struct GoesOn;
        impl Job for GoesOn {
            type Out = ();
            const GOES_ON: bool = true;
            fn run<O: Ops>(&mut self, _: &O) -> Result<(), Box<dyn Error>> {
                Ok(())
            }
        }
        let lost = || OpError::Lost { kernel: "k".into(), adapter: "a".into(), detail: "d".into() };
        let mut tries = 0;
        once_more(Stubborn, |_| {
            tries += 1;
            Err(lost().into())
        })
        .unwrap_err();
        once_more(GoesOn, |_| {
            tries += 1;
            Err(TrainError::Config("c".into()).into())
        })
        .unwrap_err();
        assert_eq!(tries, 2);
        // However deep: a check within a phase of a battery.
        let inner = BatteryError::Model(ModelError::Op(lost()));
        assert!(super::lost(&BatteryError::Train(TrainError::Data(inner.into()))));
    }
}
