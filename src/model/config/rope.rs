//! Rotary settings of `config.json`.

use serde_json::Value;

use super::{Keys, Result, short, short_text};
use crate::ops::plan::{Llama3Scaling, Rope};

/// Context of pre-training, in tokens.
const ORIGINAL: &str = "original_max_position_embeddings";

impl Keys<'_> {
    /// transformers' order: `rope_scaling` (old name) or `rope_parameters`, then the top-level keys, then 10,000.
    pub(super) fn rope(&self, max_positions: usize) -> Result<Rope> {
        let theta = self.positive("rope_theta", 10_000.0)?;
        self.whole_heads()?;
        for key in ["rope_scaling", "rope_parameters"] {
            let Some(map) = self.object(key)? else { continue };
            let prefix = format!("{key}.");
            let rope = Keys { path: self.path, map, prefix: &prefix };
            if let Some((inner, _)) = map.iter().find(|(_, v)| v.is_object()) {
                let what = format!("{key} per layer type (`{}`)", short_text(inner));
                return Err(self.unsupported(&what, "all layers share one rotary embedding"));
            }
            rope.whole_heads()?;
            // `type` is the old name.
            let scaling = match rope.get("rope_type").or(rope.get("type")) {
                None => None,
                Some(Value::String(s)) if s == "default" => None,
                Some(Value::String(s)) if s == "llama3" => {
                    // transformers prefers the model's own key to that of the object.
                    let own = self.get(ORIGINAL).map(|_| self.size(ORIGINAL, 0, 1)).transpose()?;
                    Some(rope.llama3(own, max_positions)?)
                }
                Some(v) => {
                    let what = format!("{key} of type {}", short(v));
                    return Err(self.unsupported(&what, "positions are rotated by type \"default\" or \"llama3\""));
                }
            };
            return Ok(Rope { theta: rope.positive("rope_theta", theta)?, scaling });
        }
        Ok(theta.into())
    }

    fn llama3(&self, original: Option<usize>, max_positions: usize) -> Result<Llama3Scaling> {
        let needed = |key: &str| match self.get(key) {
            Some(_) => self.positive(key, 1.0),
            None => Err(self.wrong(key, "missing", "a positive number: type \"llama3\" needs it")),
        };
        let factor = needed("factor")?;
        if factor < 1.0 {
            return Err(self.wrong("factor", factor.to_string(), "at least 1"));
        }
        let (low_freq_factor, high_freq_factor) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
        if high_freq_factor <= low_freq_factor {
            let expected = format!("more than low_freq_factor ({low_freq_factor})");
            return Err(self.wrong("high_freq_factor", high_freq_factor.to_string(), &expected));
        }
        let original = match original {
            Some(n) => n,
            None => self.size(ORIGINAL, max_positions as u64, 1)?,
        };
        Ok(Llama3Scaling {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: original as f64,
        })
    }

    fn whole_heads(&self) -> Result<()> {
        match self.get("partial_rotary_factor") {
            Some(v) if v.as_f64() != Some(1.0) => {
                let what = format!("{}partial_rotary_factor {}", self.prefix, short(v));
                Err(self.unsupported(&what, "every element of a head is rotated"))
            }
            _ => Ok(()),
        }
    }
}
