// Per block of elements: the sum of squares of the finite ones and the number of NaN or infinite ones.
struct Params {
    n: u32, // units
    block: u32, // units per block
    first: u32, // block of the output that block 0 of this binding is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> g: array<E>; // [n]
@group(0) @binding(1) var<storage, read_write> partial: array<vec2<f32>>; // [all blocks]: squares, non-finite

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let block = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let begin = block * p.block;
    let end = min(begin + p.block, p.n);
    var acc = E(0.0);
    var bad = E(0.0);
    for (var i = begin + lane; i < end; i += LANES) {
        let e = g[i];
        let bad_here = broken(e);
        let kept = select(e, E(0.0), bad_here);
        acc += kept * kept;
        bad += select(E(0.0), E(1.0), bad_here);
    }
    let square = reduce_add(total(acc), lid);
    let count = reduce_add(total(bad), lid);
    if (begin < p.n && lane == 0u) {
        partial[p.first + block] = vec2(square, count);
    }
}
