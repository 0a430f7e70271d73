//! The ways to compute matrix products, in order of preference.

use crate::kernels::reduce::row_variants;
use crate::kernels::{Kernel, Needs, On, Part, Variant};
use crate::ops::Dtype;
use crate::part;

const FORMATS: &[Dtype] = &Dtype::WEIGHTS;
const SG: &str =
    "fastest on software adapters: loads are the cost there, so each lane loads other rows and broadcasts them";
const FEW: &str = "few rows (decoding) on software adapters: no work on rows that are not there";
const ONE: &str = "one row (decoding alone) on software adapters";
const REG: &str =
    "software adapters without subgroups of 8 lanes: registers only, since workgroup memory is slow there";
const TILE: &str = "GPUs: 64x64 tiles of both operands in workgroup memory";
const WIDE: &str = "GPUs and large results: 128x64 tiles, more arithmetic for every byte of workgroup memory";
const SKINNY: &str = "few rows (decoding) on GPUs: small tiles that read ahead, since reading the weights is the work";
const NARROW: &str = "few rows and columns on GPUs: tiles so small that a narrow matrix still fills the device";

const COOP: &str = "asked for by --fast, many rows: matrix units, products in f16";

/// Elements of the result from which 128x64 tiles are enough to fill a large device twice.
const WIDE_FROM: usize = 192 * 128 * 128;

/// Variants of one product: `$parts` its operand files and `$consts` their constants, `$a` and `$b` whether the operands' memory runs along the
/// shared dimension; `$more` variants for few rows go first.
macro_rules! variants {
    ($kernel:literal, $weights:expr, [$($consts:expr),*], [$($parts:expr),*], $a:literal, $b:literal, [$($more:expr),*]) => {
        &[
            $($more,)*
            Variant {
                name: concat!($kernel, ".sg32x4"),
                why: SG,
                parts: &[part!("matmul/accumulate.wgsl"), $($parts,)* part!("matmul/core_sg32x4.wgsl")],
                consts: &[$($consts,)*],
                weights: $weights,
                needs: Needs::Subgroup(8),
                on: On::Software,
                ..Variant::BASE
            },
            Variant {
                name: concat!($kernel, ".reg8x8"),
                why: REG,
                parts: &[part!("matmul/accumulate.wgsl"), $($parts,)* part!("matmul/core_reg8x8.wgsl")],
                consts: &[$($consts,)*],
                weights: $weights,
                on: On::Software,
                ..Variant::BASE
            },
            Variant {
                name: concat!($kernel, ".tile128x64"),
                why: WIDE,
                parts: &[$($parts,)* part!("matmul/core_tile128x64.wgsl")],
                consts: &[$($consts,)* ("A_ALONG", $a), ("B_ALONG", $b)],
                weights: $weights,
                on: On::Hardware,
                least_rows: 65,
                least_area: WIDE_FROM,
                ..Variant::BASE
            },
            Variant {
                name: concat!($kernel, ".tile64"),
                why: TILE,
                parts: &[$($parts,)* part!("matmul/core_tile64.wgsl")],
                consts: &[$($consts,)* ("A_ALONG", $a), ("B_ALONG", $b)],
                weights: $weights,
                on: On::Hardware,
                ..Variant::BASE
            },
        ]
    };
}

const ROWS_A: Part = part!("matmul/rows_a.wgsl");
const NT_ROWS: Part = part!("matmul/nt_rows.wgsl");
const NT_STORE: Part = part!("matmul/nt_store.wgsl");
const GATE: [Part; 2] = [part!("rows_unit1.wgsl"), part!("lib/gate.wgsl")];

/// The variants for few rows of a product with rows of weights, whose operands are `$parts`.
macro_rules! few_sg {
    ($kernel:literal, [$($parts:expr),*], $consts:expr) => {
        Variant {
            name: concat!($kernel, ".sg8x4"),
            why: FEW,
            parts: &[part!("matmul/accumulate.wgsl"), $($parts,)* part!("matmul/core_sg8x4.wgsl")],
            consts: $consts,
            weights: FORMATS,
            needs: Needs::Subgroup(8),
            on: On::Software,
            max_rows: 8,
            ..Variant::BASE
        }
    };
}

macro_rules! few_one {
    ($kernel:literal, [$($parts:expr),*], $consts:expr) => {
        Variant {
            name: concat!($kernel, ".row1"),
            why: ONE,
            parts: &[part!("matmul/accumulate.wgsl"), $($parts,)* part!("matmul/core_row1.wgsl")],
            consts: $consts,
            weights: FORMATS,
            on: On::Software,
            max_rows: 1,
            ..Variant::BASE
        }
    };
}

macro_rules! few_narrow {
    ($kernel:literal, [$($parts:expr),*]) => {
        Variant {
            name: concat!($kernel, ".narrow4"),
            why: NARROW,
            parts: &[$($parts,)* part!("matmul/core_narrow4.wgsl"), part!("matmul/few_rows.wgsl")],
            consts: &[("WG", 64), ("COLS", 4), ("ACROSS", 4)],
            weights: FORMATS,
            on: On::Hardware,
            max_rows: 64,
            max_cols: 2048,
            ..Variant::BASE
        }
    };
}

macro_rules! few_skinny {
    ($kernel:literal, [$($parts:expr),*]) => {
        Variant {
            name: concat!($kernel, ".skinny16"),
            why: SKINNY,
            parts: &[$($parts,)* part!("matmul/core_skinny16.wgsl"), part!("matmul/few_rows.wgsl")],
            consts: &[("WG", 128), ("COLS", 16), ("ACROSS", 8), ("PAIR", 8)],
            weights: FORMATS,
            on: On::Hardware,
            max_rows: 64,
            // Wider ones, the head, fill a device with large tiles too.
            max_cols: 1 << 15,
            ..Variant::BASE
        }
    };
}

macro_rules! coop {
    ($name:literal, $tile:expr, $size:literal) => {
        Variant {
            name: $name,
            why: COOP,
            parts: &[$tile, part!("matmul/coop.wgsl")],
            samples: &[&[("WG", 128)]],
            weights: FORMATS,
            needs: Needs::Cooperative($size),
            least_rows: 65,
            ..Variant::BASE
        }
    };
}

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "matmul_nt",
        family: "matmul",
        twin: "matmul_nt",
        variants: variants!(
            "matmul_nt",
            FORMATS,
            [],
            [NT_ROWS, NT_STORE, ROWS_A, part!("matmul/nt.wgsl")],
            1,
            1,
            [
                few_one!("matmul_nt", [NT_ROWS, NT_STORE, part!("matmul/nt.wgsl")], &[]),
                few_sg!("matmul_nt", [NT_ROWS, NT_STORE, part!("matmul/nt.wgsl")], &[]),
                few_narrow!("matmul_nt", [NT_ROWS, NT_STORE, part!("matmul/nt.wgsl")]),
                few_skinny!("matmul_nt", [NT_ROWS, NT_STORE, part!("matmul/nt.wgsl")]),
                coop!("matmul_nt.coop16", part!("matmul/coop_tile16.wgsl"), 16),
                coop!("matmul_nt.coop8", part!("matmul/coop_tile8.wgsl"), 8)
            ]
        ),
    },
    Kernel {
        name: "matmul_three",
        family: "matmul",
        twin: "qkv_append",
        variants: variants!(
            "matmul_three",
            FORMATS,
            [],
            [NT_ROWS, NT_STORE, ROWS_A, part!("matmul/nt_three.wgsl")],
            1,
            1,
            [
                few_one!("matmul_three", [NT_ROWS, NT_STORE, part!("matmul/nt_three.wgsl")], &[]),
                few_sg!("matmul_three", [NT_ROWS, NT_STORE, part!("matmul/nt_three.wgsl")], &[]),
                few_narrow!("matmul_three", [NT_ROWS, NT_STORE, part!("matmul/nt_three.wgsl")]),
                few_skinny!("matmul_three", [NT_ROWS, NT_STORE, part!("matmul/nt_three.wgsl")])
            ]
        ),
    },
    Kernel {
        name: "matmul_gated",
        family: "matmul",
        twin: "gated",
        variants: variants!(
            "matmul_gated",
            FORMATS,
            [("PAIR", 2)],
            [GATE[0], GATE[1], NT_ROWS, ROWS_A, part!("matmul/nt_gated.wgsl")],
            1,
            1,
            [
                few_one!("matmul_gated", [GATE[0], GATE[1], NT_ROWS, part!("matmul/nt_gated.wgsl")], &[("PAIR", 2)]),
                few_sg!("matmul_gated", [GATE[0], GATE[1], NT_ROWS, part!("matmul/nt_gated.wgsl")], &[("PAIR", 2)]),
                few_skinny!("matmul_gated", [GATE[0], GATE[1], NT_ROWS, part!("matmul/nt_gated.wgsl")])
            ]
        ),
    },
    Kernel {
        name: "matmul_nn",
        family: "matmul",
        twin: "matmul_nn",
        variants: variants!("matmul_nn", FORMATS, [], [part!("matmul/rows_a.wgsl"), part!("matmul/nn.wgsl")], 1, 0, []),
    },
    Kernel {
        name: "matmul_nn_any",
        family: "matmul",
        twin: "matmul_nn",
        variants: variants!(
            "matmul_nn_any",
            FORMATS,
            [],
            [part!("matmul/rows_a.wgsl"), part!("matmul/nn_any.wgsl")],
            1,
            0,
            []
        ),
    },
    Kernel {
        name: "matmul_nn_split",
        family: "matmul",
        twin: "matmul_nn",
        variants: variants!(
            "matmul_nn_split",
            FORMATS,
            [],
            [part!("matmul/rows_a.wgsl"), part!("matmul/nn_split.wgsl")],
            1,
            0,
            []
        ),
    },
    Kernel {
        name: "sum_slices",
        family: "matmul",
        twin: "matmul_nn",
        variants: &[Variant {
            name: "sum_slices.vec4",
            parts: &[part!("lib/grid.wgsl"), part!("matmul/sum_slices.wgsl")],
            ..Variant::BASE
        }],
    },
    Kernel {
        name: "row_scale",
        family: "matmul",
        twin: "matmul_nt",
        variants: row_variants!("row_scale", "matmul/row_scale.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "matmul_tn",
        family: "matmul",
        twin: "matmul_tn",
        variants: variants!("matmul_tn", &[], [], [part!("matmul/tn.wgsl")], 0, 0, []),
    },
    Kernel {
        name: "matmul_tn_any",
        family: "matmul",
        twin: "matmul_tn",
        variants: variants!("matmul_tn_any", &[], [], [part!("matmul/tn_any.wgsl")], 0, 0, []),
    },
];

pub const NT: &Kernel = &KERNELS[0];
pub const THREE: &Kernel = &KERNELS[1];
pub const GATED: &Kernel = &KERNELS[2];
pub const NN: &Kernel = &KERNELS[3];
pub const NN_ANY: &Kernel = &KERNELS[4];
pub const NN_SPLIT: &Kernel = &KERNELS[5];
pub(super) const SUM_SLICES: &Kernel = &KERNELS[6];
pub const ROW_SCALE: &Kernel = &KERNELS[7];
pub const TN: &Kernel = &KERNELS[8];
pub const TN_ANY: &Kernel = &KERNELS[9];
