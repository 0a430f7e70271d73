//! Reading and editing the residual stream: declarative, so the same set works in prefill, decode and training.
//!
//! Names follow TransformerLens. `resid_post(l)` is block `l`'s output; `hidden_states[l+1]` of Hugging Face, except that
//! Hugging Face returns the last one after the final norm.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::str::FromStr;

use crate::ops::{OpError, Ops, Result, TensorMeta};

/// A point of the residual stream. Every tensor there is `[M, H]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Token embeddings.
    Embed,
    /// Input of block `l`.
    ResidPre(usize),
    /// Output of block `l`'s attention, before it is added.
    AttnOut(usize),
    /// Between attention and MLP of block `l`.
    ResidMid(usize),
    /// Output of block `l`'s MLP, before it is added.
    MlpOut(usize),
    /// Output of block `l`.
    ResidPost(usize),
    /// After the final norm (only the rows that reach the head).
    FinalNorm,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Embed => write!(f, "hook_embed"),
            Hook::ResidPre(l) => write!(f, "blocks.{l}.hook_resid_pre"),
            Hook::AttnOut(l) => write!(f, "blocks.{l}.hook_attn_out"),
            Hook::ResidMid(l) => write!(f, "blocks.{l}.hook_resid_mid"),
            Hook::MlpOut(l) => write!(f, "blocks.{l}.hook_mlp_out"),
            Hook::ResidPost(l) => write!(f, "blocks.{l}.hook_resid_post"),
            Hook::FinalNorm => write!(f, "ln_final.hook_normalized"),
        }
    }
}

impl FromStr for Hook {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let bad = || {
            format!(
                "unknown hook '{s}': expected hook_embed, ln_final.hook_normalized or blocks.N.hook_{{resid_pre,attn_out,resid_mid,mlp_out,resid_post}}"
            )
        };
        match s {
            "hook_embed" => return Ok(Hook::Embed),
            "ln_final.hook_normalized" => return Ok(Hook::FinalNorm),
            _ => {}
        }
        let (layer, point) = s.strip_prefix("blocks.").and_then(|r| r.split_once('.')).ok_or_else(bad)?;
        let l: usize = layer.parse().map_err(|_| bad())?;
        match point {
            "hook_resid_pre" => Ok(Hook::ResidPre(l)),
            "hook_attn_out" => Ok(Hook::AttnOut(l)),
            "hook_resid_mid" => Ok(Hook::ResidMid(l)),
            "hook_mlp_out" => Ok(Hook::MlpOut(l)),
            "hook_resid_post" => Ok(Hook::ResidPost(l)),
            _ => Err(bad()),
        }
    }
}

/// What happens at a hook.
pub enum Action<O: Ops> {
    /// Keeps a copy of the given rows (all rows when `None`).
    Capture { rows: Option<O::I> },
    /// `x += scale * vector` on every row; `vector` `[1, H]`.
    Add { vector: O::T, scale: f32 },
    /// Removes the component along the unit vector `direction` `[1, H]`.
    Ablate { direction: O::T },
    /// Overwrites the given rows.
    Replace { rows: O::I, source: O::T },
}

/// Actions by hook, applied in the order they were added.
pub struct HookSet<O: Ops> {
    entries: Vec<(Hook, Action<O>)>,
    captured: RefCell<Vec<(Hook, O::T)>>,
    /// Set while a block is computed a second time for the backward: captures then happen once only.
    muted: Cell<bool>,
}

impl<O: Ops> Default for HookSet<O> {
    fn default() -> Self {
        Self { entries: Vec::new(), captured: RefCell::new(Vec::new()), muted: Cell::new(false) }
    }
}

impl<O: Ops> HookSet<O> {
    pub fn with(mut self, hook: Hook, action: Action<O>) -> Self {
        self.entries.push((hook, action));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is anything to be done at this hook?
    pub fn at(&self, hook: Hook) -> bool {
        self.entries.iter().any(|(h, _)| *h == hook)
    }

    /// Captured tensors since the last call, in the order of capture.
    pub fn take(&self) -> Vec<(Hook, O::T)> {
        std::mem::take(&mut self.captured.borrow_mut())
    }

    /// Refuses hooks of layers that the model does not have.
    pub fn check(&self, layers: usize) -> Result<()> {
        for (h, _) in &self.entries {
            let l = match h {
                Hook::ResidPre(l) | Hook::AttnOut(l) | Hook::ResidMid(l) | Hook::MlpOut(l) | Hook::ResidPost(l) => *l,
                Hook::Embed | Hook::FinalNorm => 0,
            };
            if l >= layers {
                return Err(OpError::Unsupported(format!("hook {h}: the model has layers 0 to {}", layers - 1)));
            }
        }
        Ok(())
    }

    /// Applies the actions of `hook` to `x` `[M, H]`.
    pub fn apply(&self, o: &O, hook: Hook, x: &mut O::T) -> Result<()> {
        for (_, action) in self.entries.iter().filter(|(h, _)| *h == hook) {
            match action {
                Action::Capture { .. } if self.muted.get() => {}
                Action::Capture { rows } => {
                    let kept = match rows {
                        Some(rows) => o.gather_rows(x, rows)?,
                        None => o.copy(x)?,
                    };
                    self.captured.borrow_mut().push((hook, kept));
                }
                // A zero-scale steer must leave every bit alone: x + 0*v turns -0 into +0.
                Action::Add { scale, .. } if *scale == 0.0 => {}
                Action::Add { vector, scale } => o.add_row(x, vector, *scale)?,
                Action::Ablate { direction } => o.ablate_row(x, direction)?,
                Action::Replace { rows, source } => o.scatter_rows(x, source, rows)?,
            }
        }
        Ok(())
    }

    /// Runs `f` with captures switched off.
    pub(super) fn without_capture<R>(&self, f: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        self.muted.set(true);
        let r = f(self);
        self.muted.set(false);
        r
    }

    /// Backward of [`HookSet::apply`]: `dx` is the gradient after the hook and becomes the gradient before it.
    pub fn apply_bwd(&self, o: &O, hook: Hook, dx: &mut O::T) -> Result<()> {
        for (_, action) in self.entries.iter().rev().filter(|(h, _)| *h == hook) {
            match action {
                Action::Capture { .. } | Action::Add { .. } => {}
                // The projector I - d dᵀ is symmetric.
                Action::Ablate { direction } => o.ablate_row(dx, direction)?,
                Action::Replace { rows, source } => {
                    let zero = o.zeros(source.rows(), source.cols())?;
                    o.scatter_rows(dx, &zero, rows)?;
                }
            }
        }
        Ok(())
    }
}
