// One AdamW step (Loshchilov & Hutter 2019) and, per block, the sum of squares of the change of w.
struct Params {
    n: u32, // units
    block: u32, // units per block
    first: u32, // block of the output that block 0 of this binding is
    clip: u32, // 0 = no clipping
    max_norm: f32,
    decay: f32, // 1 - lr weight_decay
    beta1: f32,
    beta2: f32,
    step: f32, // lr / bias_correction1
    root2: f32, // sqrt(bias_correction2)
    eps: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> w: array<E>; // [n]
@group(0) @binding(1) var<storage, read> g: array<E>; // [n]
@group(0) @binding(2) var<storage, read_write> m: array<E>; // [n]
@group(0) @binding(3) var<storage, read_write> v: array<E>; // [n]
@group(0) @binding(4) var<storage, read> norm: array<f32>; // [2]
@group(0) @binding(5) var<storage, read_write> partial: array<vec2<f32>>; // [all blocks]: squares, 0

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let block = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let begin = block * p.block;
    let end = min(begin + p.block, p.n);
    let length = norm[0] + 1e-6;
    let shrink = select(1.0, p.max_norm / length, p.clip != 0u && length > p.max_norm);
    var acc = E(0.0);
    for (var i = begin + lane; i < end; i += LANES) {
        let grad = g[i] * shrink;
        let old = w[i];
        let m1 = p.beta1 * m[i] + (1.0 - p.beta1) * grad;
        let v1 = p.beta2 * v[i] + (1.0 - p.beta2) * grad * grad;
        let now = old * p.decay - p.step * (m1 / (sqrt(v1) / p.root2 + p.eps));
        let change = now - old;
        m[i] = m1;
        v[i] = v1;
        w[i] = now;
        acc += change * change;
    }
    let square = reduce_add(total(acc), lid);
    if (begin < p.n && lane == 0u) {
        partial[p.first + block] = vec2(square, 0.0);
    }
}
