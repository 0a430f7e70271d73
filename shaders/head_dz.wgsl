// Gradient of logp[target] to the logits: dz = dlogp/T (1[v = target] - exp(z/T - lse)).
// `logit(i)` and the output `dz` come from head_inplace.wgsl (the logits are overwritten) or head_apart.wgsl.
struct Params {
    n: u32, // units of z
    cols: u32, // units per row
    first: u32, // row of dlogp, lse and targets that row 0 of the logits is
    inv_temperature: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> targets: array<u32>; // [all rows]
@group(0) @binding(1) var<storage, read> dlogp: array<f32>; // [all rows, 1]
@group(0) @binding(2) var<storage, read> lse: array<f32>; // [all rows, 1]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let row = p.first + i / p.cols;
        let prob = exp(logit(i) * p.inv_temperature - lse[row]);
        dz[i] = dlogp[row] * p.inv_temperature * (one_hot(i % p.cols, targets[row]) - prob);
    }
}
