// dw[target[t], :] += sum of dy[rows[offsets[t] .. offsets[t+1]], :], in that order, for the table rows that are bound.
struct Params {
    n: u32, // targets * cols
    cols: u32, // units per row
    first: u32, // row of the table at the start of the binding
    count: u32, // rows of the table in the binding
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> dw: array<E>; // [count, cols]
@group(0) @binding(1) var<storage, read> dy: array<E>; // [rows, cols]
@group(0) @binding(2) var<storage, read> targets: array<u32>; // [U]
@group(0) @binding(3) var<storage, read> offsets: array<u32>; // [U + 1]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // [rows]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let t = i / p.cols;
        let c = i % p.cols;
        let row = targets[t] - p.first; // wraps to a large number below the window
        if (row < p.count) {
            let at = row * p.cols + c;
            var acc = dw[at];
            for (var s = offsets[t]; s < offsets[t + 1u]; s++) {
                acc += dy[rows[s] * p.cols + c];
            }
            dw[at] = acc;
        }
    }
}
