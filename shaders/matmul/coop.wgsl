// y[M, N] = x[M, K] w[N, K]^T (+ bias) on matrix units: products of TxTxT in f16, sums in f32. Rows of x come scaled into the range of
// f16. A workgroup of four subgroups makes 8T rows by 4T columns, a subgroup 2T rows of them.

struct Params {
    rows: u32, // rows of x and y in this window
    cols: u32, // rows of w in this window = columns of y that it fills
    depth4: u32, // vec4s per row of x and w
    y_stride: u32, // columns of y
    y_offset: u32, // first column of y that this window fills
    has_bias: u32,
    first: u32, // row of the whole x that row 0 of the window is
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [M, K] f32
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [1, N] f32; anything when has_bias is 0
@group(0) @binding(3) var<storage, read> scale: array<f32>; // [all rows, 1]: powers of two
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [M, N] f32

// Elements of a row of a tile: 16 steps of the shared dimension, and 8 that keep rows apart in the banks.
const ROW: u32 = 24u;

var<workgroup> tile_a: array<f16, 8u * T * ROW>; // [8T rows][ROW]
var<workgroup> tile_b: array<f16, 4u * T * ROW>; // [4T columns][ROW]
var<workgroup> square: array<f32, 4u * T * T>; // [4 subgroups][T][T] of the result

fn w_stride4() -> u32 {
    return p.depth4;
}

fn scale_of(row: u32) -> f32 {
    return scale[p.first + min(row, p.rows - 1u)];
}

fn bring_a(group_row: u32, q: u32, first: u32) {
    let row = group_row + q / 4u;
    let i = first + q % 4u;
    let v = select(vec4<f32>(0.0), x[min(row, p.rows - 1u) * p.depth4 + min(i, p.depth4 - 1u)], i < p.depth4);
    let h = vec4<f16>(v * scale_of(row));
    let to = q / 4u * ROW + q % 4u * 4u;
    tile_a[to] = h.x;
    tile_a[to + 1u] = h.y;
    tile_a[to + 2u] = h.z;
    tile_a[to + 3u] = h.w;
}

fn bring_b(group_col: u32, q: u32, first: u32) {
    let i = first + q % 4u;
    let v = select(vec4<f32>(0.0), w4(min(group_col + q / 4u, p.cols - 1u), min(i, p.depth4 - 1u)), i < p.depth4);
    let h = vec4<f16>(v);
    let to = q / 4u * ROW + q % 4u * 4u;
    tile_b[to] = h.x;
    tile_b[to + 1u] = h.y;
    tile_b[to + 2u] = h.z;
    tile_b[to + 3u] = h.w;
}

// A subgroup's square of the result to y: its rows Tr .. Tr+T-1, columns Tc .. Tc+T-1.
fn spill(group: vec3<u32>, sub: u32, within: u32, size: u32, r: u32, c: u32) {
    for (var i = within; i < T * T; i += size) {
        let row = (group.y * 8u + sub * 2u + r) * T + i / T;
        let col = (group.x * 4u + c) * T + i % T;
        if (row < p.rows && col < p.cols) {
            let at = p.y_offset + col;
            let value = square[sub * T * T + i] / scale_of(row);
            y[row * p.y_stride + at] = value + select(0.0, bias[at], p.has_bias != 0u);
        }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) sub: u32, @builtin(subgroup_invocation_id) within: u32, @builtin(subgroup_size) size: u32) {
    var c00: Sum;
    var c01: Sum;
    var c02: Sum;
    var c03: Sum;
    var c10: Sum;
    var c11: Sum;
    var c12: Sum;
    var c13: Sum;
    for (var first = 0u; first < p.depth4; first += 4u) {
        for (var q = lane; q < 32u * T; q += WG) {
            bring_a(group.y * 8u * T, q, first);
        }
        for (var q = lane; q < 16u * T; q += WG) {
            bring_b(group.x * 4u * T, q, first);
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k += T) {
            let rows = sub * 2u * T * ROW + k;
            let a0 = coopLoadT<Left>(&tile_a[rows], ROW);
            let a1 = coopLoadT<Left>(&tile_a[rows + T * ROW], ROW);
            let b0 = coopLoad<Right>(&tile_b[k], ROW);
            let b1 = coopLoad<Right>(&tile_b[k + T * ROW], ROW);
            let b2 = coopLoad<Right>(&tile_b[k + 2u * T * ROW], ROW);
            let b3 = coopLoad<Right>(&tile_b[k + 3u * T * ROW], ROW);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c02 = coopMultiplyAdd(a0, b2, c02);
            c03 = coopMultiplyAdd(a0, b3, c03);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c12 = coopMultiplyAdd(a1, b2, c12);
            c13 = coopMultiplyAdd(a1, b3, c13);
        }
        workgroupBarrier();
    }
    coopStoreT(c00, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 0u, 0u);
    workgroupBarrier();
    coopStoreT(c01, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 0u, 1u);
    workgroupBarrier();
    coopStoreT(c02, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 0u, 2u);
    workgroupBarrier();
    coopStoreT(c03, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 0u, 3u);
    workgroupBarrier();
    coopStoreT(c10, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 1u, 0u);
    workgroupBarrier();
    coopStoreT(c11, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 1u, 1u);
    workgroupBarrier();
    coopStoreT(c12, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 1u, 2u);
    workgroupBarrier();
    coopStoreT(c13, &square[sub * T * T], T);
    workgroupBarrier();
    spill(group, sub, within, size, 1u, 3u);
    workgroupBarrier();
}
