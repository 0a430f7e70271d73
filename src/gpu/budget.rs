//! When recorded work is submitted. Operating systems reset a GPU that is busy with one submission for about two seconds, and a
//! desktop on the same GPU stands still meanwhile; so a submission stays far below that. Results do not depend on any of this.

use super::caps::Caps;

/// Submit after this many dispatches,
pub const MAX_DISPATCHES: u64 = 128;
/// or after this much estimated time. Estimates assume a slow device of its type; a factor of ten is left to the two seconds.
pub const MAX_SECONDS: f64 = 0.05;

/// What has been submitted so far, by estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Submitted {
    pub submissions: u64,
    pub dispatches: u64,
    /// Seconds of the longest submission.
    pub longest: f64,
    /// Submissions over [`MAX_SECONDS`] that are one dispatch which could not be cut,
    pub alone: u64,
    /// and that are more than one: never.
    pub over: u64,
}

/// What is recorded and not yet submitted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded {
    pub dispatches: u64,
    pub seconds: f64,
    /// The dispatch that takes longest.
    pub heaviest: (&'static str, f64),
}

pub(super) struct Budget {
    flop_rate: f64,
    byte_rate: f64,
    pub recorded: Recorded,
    pub total: Submitted,
}

impl Budget {
    pub fn new(caps: &Caps) -> Self {
        Self {
            flop_rate: caps.flop_rate,
            byte_rate: caps.byte_rate,
            recorded: Recorded::default(),
            total: Submitted::default(),
        }
    }

    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flop_rate).max(bytes as f64 / self.byte_rate)
    }

    /// What is recorded must be submitted before a dispatch of so many seconds.
    pub fn leaves_no_room_for(&self, seconds: f64) -> bool {
        self.recorded.dispatches > 0 && self.recorded.seconds + seconds > MAX_SECONDS
    }

    /// Counts a dispatch; true when it is time to submit.
    pub fn add(&mut self, kernel: &'static str, seconds: f64) -> bool {
        let r = &mut self.recorded;
        r.dispatches += 1;
        r.seconds += seconds;
        if seconds >= r.heaviest.1 {
            r.heaviest = (kernel, seconds);
        }
        r.dispatches >= MAX_DISPATCHES || r.seconds >= MAX_SECONDS
    }

    /// What was recorded has been submitted.
    pub fn submitted(&mut self) -> Recorded {
        let r = std::mem::take(&mut self.recorded);
        let t = &mut self.total;
        t.submissions += 1;
        t.dispatches += r.dispatches;
        t.longest = t.longest.max(r.seconds);
        if r.seconds > MAX_SECONDS {
            *(if r.dispatches == 1 { &mut t.alone } else { &mut t.over }) += 1;
        }
        r
    }
}
