//! Ctrl-C: the first lets the work in hand finish and be saved, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::train::run::Interrupt;

/// Exit code of a command that was asked to stop.
pub const STOPPED: u8 = 130;

/// From now on SIGINT and SIGTERM set the flag that is returned. Only for commands that look at it.
pub fn install() -> std::io::Result<Interrupt> {
    let (interrupt, at_once) = (Interrupt::default(), Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM] {
        register_conditional_shutdown(signal, i32::from(STOPPED), at_once.clone())?;
        register(signal, interrupt.flag())?;
    }
    let asked = interrupt.clone();
    // A signal handler must not print, and a step may take a minute.
    std::thread::spawn(move || {
        while !asked.asked() {
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("stopping after the step in hand, which is saved; Ctrl-C again ends at once");
        // One wish may come as two signals, to the process and to its group, as from `timeout`.
        std::thread::sleep(Duration::from_millis(500));
        at_once.store(true, Ordering::Release);
    });
    Ok(interrupt)
}

/// This command line, as it can be pasted.
pub fn command_line() -> String {
    let quoted = |a: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        if !a.is_empty() && a.chars().all(plain) { a } else { format!("'{}'", a.replace('\'', r"'\''")) }
    };
    std::env::args_os().map(|a| quoted(a.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}
