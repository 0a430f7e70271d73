//! The factor "precision" as storage of the weights.

use super::error::{PairError, Result};
use crate::generate::source::Storage;

/// Names that a configuration may use.
pub const NAMES: [&str; 5] = ["f32", "bf16", "int8", "int4", "nf4"];

/// How weights are kept under a precision.
///
/// # Errors
/// A name that is none, and a format that this build cannot keep weights in.
pub fn storage(name: &str) -> Result<Storage> {
    match name {
        "f32" => Ok(Storage::F32),
        "bf16" => Ok(Storage::Bf16),
        _ if NAMES.contains(&name) => Err(PairError::Refused(format!(
            "precision {name:?}: this build keeps weights in f32 or bf16 only; run the cells of another precision where it is supported"
        ))),
        _ => Err(PairError::Refused(format!("precision {name:?}: expected one of {}", NAMES.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_storage_or_says_why_not() {
        for name in NAMES {
            match storage(name) {
                Ok(s) => assert!(matches!((name, s), ("f32", Storage::F32) | ("bf16", Storage::Bf16))),
                Err(e) => assert!(e.to_string().contains(name)),
            }
        }
        assert!(storage("fp4").unwrap_err().to_string().contains("nf4"));
    }
}
