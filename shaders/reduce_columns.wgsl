// Column sums of blocks of rows, rows in order: y[b, c] = sum of x[b*block .. (b+1)*block, c], added to y when ADD.
struct Params {
    rows: u32,
    cols: u32, // units per row
    block: u32, // rows per block
    n: u32, // units of y written here
    out: u32, // block of y that block 0 of this binding is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read_write> y: array<E>; // [all blocks, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let c = i % p.cols;
        let first = (i / p.cols) * p.block;
        let end = min(first + p.block, p.rows);
        var acc = E(0.0);
        for (var r = first; r < end; r++) {
            acc += x[r * p.cols + c];
        }
        if (ADD != 0u) {
            y[p.out * p.cols + i] += acc;
        } else {
            y[p.out * p.cols + i] = acc;
        }
    }
}
