// Core for few rows (decoding) on GPUs, bound by reading w: a workgroup makes 16 rows by COLS columns, an invocation PER columns of one
// row. Tiles are 64 steps of the shared dimension long; the next ones are read while these are multiplied. Needs the constants
// COLS and PER.

const WG = 16u * COLS / PER;
const A_QUADS = 256u / WG; // quads of tile_a that an invocation brings in
const B_QUADS = PER; // and of tile_b: COLS * 16 / WG

var<workgroup> tile_a: array<vec4<f32>, 256>; // [16 rows][16 quads of steps], quad i of row r at r*16 + (i ^ r)
var<workgroup> tile_b: array<vec4<f32>, COLS * 16u>; // [COLS columns][16 quads of steps], likewise

fn column(n: u32, i: u32) -> vec4<f32> {
    return w4(min(n, p.cols - 1u), i);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile_row = group.y * 16u;
    let tile_col = group.x * COLS;
    let end = p.depth4;
    let i = lane % 16u;
    let stage = lane / 16u; // first row or column that this invocation brings in; the next are WG / 16 further

    let r = lane / (COLS / PER);
    let c = lane % (COLS / PER);
    var sum: array<f32, PER>;
    var next_a: array<vec4<f32>, A_QUADS>;
    var next_b: array<vec4<f32>, B_QUADS>;
    if (i < end) {
        for (var j = 0u; j < A_QUADS; j++) {
            next_a[j] = a4(tile_row + stage + j * (WG / 16u), i);
        }
        for (var j = 0u; j < B_QUADS; j++) {
            next_b[j] = column(tile_col + stage + j * (WG / 16u), i);
        }
    }
    for (var first = 0u; first < end; first += 16u) {
        for (var j = 0u; j < A_QUADS; j++) {
            let to = stage + j * (WG / 16u);
            tile_a[to * 16u + (i ^ to)] = next_a[j];
        }
        for (var j = 0u; j < B_QUADS; j++) {
            let to = stage + j * (WG / 16u);
            tile_b[to * 16u + (i ^ (to % 16u))] = next_b[j];
        }
        workgroupBarrier();
        let ahead = first + 16u + i;
        if (ahead < end) {
            for (var j = 0u; j < A_QUADS; j++) {
                next_a[j] = a4(tile_row + stage + j * (WG / 16u), ahead);
            }
            for (var j = 0u; j < B_QUADS; j++) {
                next_b[j] = column(tile_col + stage + j * (WG / 16u), ahead);
            }
        }
        let quads = min(16u, end - first);
        for (var k = 0u; k < quads; k++) {
            let a = tile_a[r * 16u + (k ^ r)];
            for (var j = 0u; j < PER; j++) {
                let col = c + j * (COLS / PER);
                let b = tile_b[col * 16u + (k ^ (col % 16u))];
                sum[j] = fma(a.x, b.x, sum[j]);
                sum[j] = fma(a.y, b.y, sum[j]);
                sum[j] = fma(a.z, b.z, sum[j]);
                sum[j] = fma(a.w, b.w, sum[j]);
            }
        }
        workgroupBarrier();
    }

    let row = tile_row + r;
    for (var j = 0u; j < PER; j++) {
        let col = tile_col + c + j * (COLS / PER);
        if (row < p.rows && col < p.cols) {
            y[row * p.y_stride + p.y_offset + col] = sum[j] + bias_of(col);
        }
    }
}
