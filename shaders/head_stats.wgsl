// Per row of logits z, with t = z/T - max(z/T): S = sum exp(t), A = sum exp(t) t;
// lse = max + ln S, logp = t[target] - ln S, entropy = ln S - A / S.
struct Params {
    rows: u32,
    cols: u32, // units per row
    first: u32, // row of the outputs and targets that row 0 of the logits is
    inv_temperature: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> z: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read> targets: array<u32>; // [all rows]
@group(0) @binding(2) var<storage, read_write> logp: array<f32>; // [all rows, 1]
@group(0) @binding(3) var<storage, read_write> lse: array<f32>; // [all rows, 1]
@group(0) @binding(4) var<storage, read_write> entropy: array<f32>; // [all rows, 1]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let live = row < p.rows;
    let base = select(0u, row * p.cols, live);
    var high = z[base];
    for (var c = lane; c < p.cols; c += LANES) {
        high = max(high, z[base + c]);
    }
    let top = reduce_max(largest(high), lid) * p.inv_temperature;
    var mass = E(0.0);
    var moment = E(0.0);
    for (var c = lane; c < p.cols; c += LANES) {
        let t = z[base + c] * p.inv_temperature - top;
        let e = exp(t);
        mass += e;
        moment += e * t;
    }
    let sum = reduce_add(total(mass), lid);
    let weighted = reduce_add(total(moment), lid);
    if (live && lane == 0u) {
        let out = p.first + row;
        let target_id = min(targets[out], p.cols * UNIT - 1u);
        let chosen = part(z[base + target_id / UNIT], target_id % UNIT);
        let log_sum = log(sum);
        lse[out] = top + log_sum;
        logp[out] = (chosen * p.inv_temperature - top) - log_sum;
        entropy[out] = log_sum - weighted / sum;
    }
}
