//! Profiles: which design a domain's data and rewards follow, and configurations that start from one.

use serde::{Deserialize, Serialize};

/// Which design the data and reward follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// As the study describes it.
    Paper,
    /// With the corrections of the protocol.
    Strict,
}

/// A configuration table over the defaults of the profile that it names (strict, where it names none).
pub(crate) fn merged<C: Serialize>(given: toml::Table, of_profile: fn(Profile) -> C) -> Result<toml::Table, String> {
    let profile = match given.get("profile") {
        Some(value) => value.clone().try_into().map_err(|e| format!("profile: {e}"))?,
        None => Profile::Strict,
    };
    let mut base = toml::Table::try_from(of_profile(profile)).map_err(|e| e.to_string())?;
    overlay(&mut base, given);
    Ok(base)
}

/// Replace values of `base` by those of `over`, table by table.
fn overlay(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(table)) => overlay(inner, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
