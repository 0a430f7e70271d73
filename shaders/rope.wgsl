// Rotary embedding in place (Su et al. 2021), half-split pairs (i, i + half) of every head.
struct Params {
    n: u32, // units of half a row
    heads: u32,
    half: u32, // units of half a head
    sign: f32, // -1 turns back
    positions: u32, // rows of the table
    first: u32, // row of the whole tensor that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> x: array<E>; // [rows, heads, 2, half]
@group(0) @binding(1) var<storage, read> pos: array<u32>; // [all rows]
@group(0) @binding(2) var<storage, read> table: array<E>; // [positions, 2, half]: cosines, sines

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let item = linear_group(group, groups) * WG + lid;
    if (item < p.n) {
        let i = item % p.half;
        let head = item / p.half; // row * heads + head
        let at = head * 2u * p.half + i;
        let angle = min(pos[p.first + head / p.heads], p.positions - 1u) * 2u * p.half + i;
        let c = table[angle];
        let s = table[angle + p.half] * p.sign;
        let a = x[at];
        let b = x[at + p.half];
        x[at] = turned_first(a, b, c, s);
        x[at + p.half] = turned_second(a, b, c, s);
    }
}
