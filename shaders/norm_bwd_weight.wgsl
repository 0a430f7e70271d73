// Gradient of RMSNorm to its weight over blocks of rows, rows in order:
// dw[b, c] = sum over the rows of block b of dy x rstd; added to dw when ADD.
struct Params {
    rows: u32,
    cols: u32, // units per row
    block: u32, // rows per block
    n: u32, // units of dw written here
    out: u32, // block of dw that block 0 of this binding is
    first: u32, // row of the whole tensor that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dy: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read> x: array<E>; // [rows, cols]
@group(0) @binding(2) var<storage, read> rstd: array<f32>; // [all rows, 1]
@group(0) @binding(3) var<storage, read_write> dw: array<E>; // [all blocks, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let c = i % p.cols;
        let first = (i / p.cols) * p.block;
        let end = min(first + p.block, p.rows);
        var acc = E(0.0);
        for (var row = first; row < end; row++) {
            let at = row * p.cols + c;
            acc += dy[at] * (x[at] * rstd[p.first + row]);
        }
        if (ADD != 0u) {
            dw[p.out * p.cols + i] += acc;
        } else {
            dw[p.out * p.cols + i] = acc;
        }
    }
}
