// Core for few rows (decoding) on GPUs, bound by reading w: a workgroup of 128 makes 16 rows by 16 columns, an invocation two columns
// of a row. Tiles are 64 steps of the shared dimension long; two are on their way while one is multiplied.

var<workgroup> tile_a: array<vec4<f32>, 256>; // [16 rows][16 quads of steps], quad i of row r at r*16 + (i ^ r)
var<workgroup> tile_b: array<vec4<f32>, 256>; // [16 columns][16 quads of steps], likewise

// What an invocation brings in: quad `i` of rows and of columns that lie 8 apart.
struct Ahead {
    a0: vec4<f32>,
    a1: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
}

fn bring(row: u32, col: u32, i: u32) -> Ahead {
    let k = min(i, p.depth4 - 1u);
    let last = p.cols - 1u;
    return Ahead(
        a4(row + 0u, k),
        a4(row + 8u, k),
        w4(min(col + 0u, last), k),
        w4(min(col + 8u, last), k),
    );
}

fn settle(h: Ahead, stage: u32, i: u32) {
    tile_a[stage * 16u + (i ^ stage)] = h.a0;
    tile_a[(stage + 8u) * 16u + (i ^ (stage + 8u))] = h.a1;
    tile_b[stage * 16u + (i ^ stage)] = h.b0;
    tile_b[(stage + 8u) * 16u + (i ^ (stage + 8u))] = h.b1;
}

// Four more steps of the sums of row `r` in column `c` and the one 8 further.
fn more(sum: vec2<f32>, r: u32, c: u32, k: u32) -> vec2<f32> {
    let a = tile_a[r * 16u + (k ^ r)];
    let b = tile_b[c * 16u + (k ^ c)];
    let d = tile_b[(c + 8u) * 16u + (k ^ (c + 8u))];
    var s = sum;
    s = fma(vec2<f32>(a.x), vec2<f32>(b.x, d.x), s);
    s = fma(vec2<f32>(a.y), vec2<f32>(b.y, d.y), s);
    s = fma(vec2<f32>(a.z), vec2<f32>(b.z, d.z), s);
    return fma(vec2<f32>(a.w), vec2<f32>(b.w, d.w), s);
}

fn multiply(sum: vec2<f32>, r: u32, c: u32, quads: u32) -> vec2<f32> {
    var s = sum;
    if (quads >= 16u) {
        for (var k = 0u; k < 16u; k++) {
            s = more(s, r, c, k);
        }
    } else {
        for (var k = 0u; k < quads; k++) {
            s = more(s, r, c, k);
        }
    }
    return s;
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let end = p.depth4;
    let i = lane % 16u;
    let stage = lane / 16u;
    let from_row = group.y * 16u + stage;
    let from_col = group.x * 16u + stage;
    let r = lane / 8u;
    let c = lane % 8u;

    var sum = vec2<f32>(0.0);
    var even = bring(from_row, from_col, i);
    var odd = bring(from_row, from_col, i + 16u);
    for (var first = 0u; first < end; first += 32u) {
        settle(even, stage, i);
        workgroupBarrier();
        even = bring(from_row, from_col, first + 32u + i);
        sum = multiply(sum, r, c, end - first);
        workgroupBarrier();
        if (first + 16u < end) {
            settle(odd, stage, i);
            workgroupBarrier();
            odd = bring(from_row, from_col, first + 48u + i);
            sum = multiply(sum, r, c, end - first - 16u);
            workgroupBarrier();
        }
    }

    let row = group.y * 16u + r;
    let col = group.x * 16u + c;
    if (row < p.rows && col < p.cols) {
        y[row * p.y_stride + p.y_offset + col] = sum.x + bias_of(col);
    }
    if (row < p.rows && col + 8u < p.cols) {
        y[row * p.y_stride + p.y_offset + col + 8u] = sum.y + bias_of(col + 8u);
    }
}
