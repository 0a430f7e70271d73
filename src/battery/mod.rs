//! The battery: which cells run, in what order, and what their rows say.

pub mod record;
