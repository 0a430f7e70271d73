// Ordered sum of block partials by one workgroup: the root of the sum, and the count when COUNT.
struct Params {
    blocks: u32,
    row: u32, // of y
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> partial: array<vec2<f32>>; // [blocks]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [rows, 2], or [1] without COUNT

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lid: u32) {
    var acc = vec2(0.0);
    for (var b = lid; b < p.blocks; b += LANES) {
        acc += partial[b];
    }
    let sum = reduce_add(acc.x, lid);
    let count = reduce_add(acc.y, lid);
    if (lid == 0u) {
        y[2u * p.row] = sqrt(sum);
        if (COUNT != 0u) {
            y[2u * p.row + 1u] = count;
        }
    }
}
