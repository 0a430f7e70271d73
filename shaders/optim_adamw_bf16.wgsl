// One AdamW step on weights and moments stored in bf16, rounded stochastically, and per block the sum of squares of the change of w and
// the number of weights that changed.
struct Params {
    n: u32, // units of four elements
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
    origin: u32, // element of the tensor that element 0 of this binding is
    key0: u32,
    key1: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> w: array<vec2<u32>>; // [n] four bf16 each, the even ones low
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>; // [n]
@group(0) @binding(2) var<storage, read_write> m: array<vec2<u32>>; // [n] bf16
@group(0) @binding(3) var<storage, read_write> v: array<vec2<u32>>; // [n] bf16
@group(0) @binding(4) var<storage, read> norm: array<f32>; // [2]
@group(0) @binding(5) var<storage, read_write> partial: array<vec2<f32>>; // [all blocks]: squares, changed

fn expand(x: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(x.x << 16u, x.x & 0xffff0000u, x.y << 16u, x.y & 0xffff0000u));
}

// A bijection of 32 bits that leaves no visible trace of a counter (Wellons 2018, "lowbias32").
fn mix(input: vec4<u32>) -> vec4<u32> {
    var x = input;
    x = (x ^ (x >> vec4(16u))) * 0x7feb352du;
    x = (x ^ (x >> vec4(15u))) * 0x846ca68bu;
    return x ^ (x >> vec4(16u));
}

// The bf16 below or above, in the upper half: 16 random bits are added to what will be cut off. NaN and infinities are cut.
fn round(x: vec4<f32>, bits: vec4<u32>) -> vec4<u32> {
    let u = bitcast<vec4<u32>>(x);
    let special = (u & vec4(0x7f800000u)) == vec4(0x7f800000u);
    return select(u + (bits & vec4(0xffffu)), u, special) & vec4(0xffff0000u);
}

fn pack(u: vec4<u32>) -> vec2<u32> {
    return vec2((u.x >> 16u) | u.y, (u.z >> 16u) | u.w);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let block = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let begin = block * p.block;
    let end = min(begin + p.block, p.n);
    let length = norm[0] + 1e-6;
    let shrink = select(1.0, p.max_norm / length, p.clip != 0u && length > p.max_norm);
    var squares = vec4(0.0);
    var changed = vec4(0.0);
    for (var i = begin + lane; i < end; i += LANES) {
        let grad = g[i] * shrink;
        let packed = w[i];
        let old = expand(packed);
        let m1 = p.beta1 * expand(m[i]) + (1.0 - p.beta1) * grad;
        let v1 = p.beta2 * expand(v[i]) + (1.0 - p.beta2) * grad * grad;
        let now = old * p.decay - p.step * (m1 / (sqrt(v1) / p.root2 + p.eps));
        let element = vec4(p.origin + 4u * i) + vec4(0u, 1u, 2u, 3u);
        let r = mix(mix(element + p.key0) ^ vec4(p.key1));
        let stored = round(now, r);
        w[i] = pack(stored);
        m[i] = pack(round(m1, r >> vec4(16u)));
        v[i] = pack(round(v1, mix(r + 0x9e3779b9u)));
        let change = bitcast<vec4<f32>>(stored) - old;
        squares += change * change;
        changed += select(vec4(0.0), vec4(1.0), stored != bitcast<vec4<u32>>(old));
    }
    let square = reduce_add(total(squares), lid);
    let count = reduce_add(total(changed), lid);
    if (begin < p.n && lane == 0u) {
        partial[p.first + block] = vec2(square, count);
    }
}
