// What a decoding step does between the projections and attention: queries are turned, keys are turned into their rows of the cache,
// values are copied into theirs (rope.wgsl twice and rows_scatter.wgsl twice).
struct Params {
    rows: u32,
    heads: u32,
    kv_heads: u32,
    half: u32, // units of half a head
    positions: u32, // rows of the table
    cache_rows: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> qkv: array<E>; // [rows, heads + 2 kv_heads, 2, half]
@group(0) @binding(1) var<storage, read_write> q: array<E>; // [rows, heads, 2, half]
@group(0) @binding(2) var<storage, read> pos: array<u32>; // [rows]
@group(0) @binding(3) var<storage, read> table: array<E>; // [positions, 2, half]: cosines, sines
@group(0) @binding(4) var<storage, read_write> keys: array<E>; // [cache_rows, kv_heads, 2, half]
@group(0) @binding(5) var<storage, read_write> values: array<E>; // [cache_rows, kv_heads, 2, half]
@group(0) @binding(6) var<storage, read> slots: array<u32>; // [rows]: row of the cache

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    // A row is its queries' pairs, its keys' pairs, its values' pairs.
    let item = linear_group(group, groups) * WG + lid;
    let heads = p.heads + 2u * p.kv_heads;
    let row = item / (heads * p.half);
    if (row < p.rows) {
        let i = item % p.half;
        let head = item / p.half % heads;
        let first = (row * heads + head) * 2u * p.half + i;
        let a = qkv[first];
        let b = qkv[first + p.half];
        let angle = min(pos[row], p.positions - 1u) * 2u * p.half + i;
        let c = table[angle];
        let s = table[angle + p.half];
        if (head < p.heads) {
            let to = (row * p.heads + head) * 2u * p.half + i;
            q[to] = turned_first(a, b, c, s);
            q[to + p.half] = turned_second(a, b, c, s);
        } else if (slots[row] < p.cache_rows) {
            let h = (head - p.heads) % p.kv_heads;
            let to = (slots[row] * p.kv_heads + h) * 2u * p.half + i;
            if (head < p.heads + p.kv_heads) {
                keys[to] = turned_first(a, b, c, s);
                keys[to + p.half] = turned_second(a, b, c, s);
            } else {
                values[to] = a;
                values[to + p.half] = b;
            }
        }
    }
}
