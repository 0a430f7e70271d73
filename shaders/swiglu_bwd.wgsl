// Gradients of y = silu(g) u: dg = dy u s (1 + g (1 - s)), du = dy g s, s = 1 / (1 + exp(-g)).
struct Params {
    n: u32, // units
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dy: array<E>; // [n]
@group(0) @binding(1) var<storage, read> g: array<E>; // [n]
@group(0) @binding(2) var<storage, read> u: array<E>; // [n]
@group(0) @binding(3) var<storage, read_write> dg: array<E>; // [n]
@group(0) @binding(4) var<storage, read_write> du: array<E>; // [n]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let gate = g[i];
        let e = exp(-abs(gate));
        let big = 1.0 / (1.0 + e); // s of |g|
        let small = e / (1.0 + e); // 1 - s of |g|
        let s = select(small, big, gate >= E(0.0));
        let rest = select(big, small, gate >= E(0.0)); // 1 - s without cancellation
        dg[i] = dy[i] * u[i] * s * (1.0 + gate * rest);
        du[i] = dy[i] * gate * s;
    }
}
