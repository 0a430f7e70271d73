//! The factor "precision" as storage of the weights.

use super::error::{PairError, Result};
use crate::generate::source::Storage;

/// Names that a configuration may use; what a file happens to hold is no level of a factor.
pub const NAMES: [&str; 5] =
    [Storage::F32.name(), Storage::Bf16.name(), Storage::Int8.name(), Storage::Int4.name(), Storage::Nf4.name()];

/// How weights are kept under a precision.
///
/// # Errors
/// A name that is none.
pub fn storage(name: &str) -> Result<Storage> {
    match name.parse() {
        Ok(s) if NAMES.contains(&name) => Ok(s),
        _ => Err(PairError::Refused(format!("precision {name:?}: expected one of {}", NAMES.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_storages() {
        for name in NAMES {
            assert_eq!(storage(name).unwrap().name(), name);
        }
        assert!(storage("fp4").unwrap_err().to_string().contains("nf4"));
        assert!(storage("as-stored").is_err());
    }
}
