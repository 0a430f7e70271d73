// y = silu(g) u.
struct Params {
    n: u32, // units
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> g: array<E>; // [n]
@group(0) @binding(1) var<storage, read> u: array<E>; // [n]
@group(0) @binding(2) var<storage, read_write> y: array<E>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        y[i] = gated(g[i], u[i]);
    }
}
