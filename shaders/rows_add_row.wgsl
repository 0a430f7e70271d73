// x[i, :] += s * v.
struct Params {
    n: u32, // units of x
    cols: u32, // units per row
    s: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> x: array<E>; // [n / cols, cols]
@group(0) @binding(1) var<storage, read> v: array<E>; // [1, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        x[i] += p.s * v[i % p.cols];
    }
}
