// Core for few rows (decoding) on GPUs, bound by reading w: a workgroup of 128 makes 16 rows by 16 columns, an invocation two columns
// of a row. The loop is few_rows.wgsl.

var<workgroup> tile_a: array<vec4<f32>, 256>; // [16 rows][16 quads of steps], quad i of row r at r*16 + (i ^ r)
var<workgroup> tile_b: array<vec4<f32>, 256>; // [16 columns][16 quads of steps], likewise

alias Sum = vec2<f32>;

// What an invocation brings in: quad `i` of rows and of columns that lie 8 apart.
struct Ahead {
    a0: vec4<f32>,
    a1: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
}

fn bring(row: u32, col: u32, i: u32) -> Ahead {
    let k = min(i, p.depth4 - 1u);
    return Ahead(
        a4(row + 0u, k),
        a4(row + 8u, k),
        column4(col + 0u, k),
        column4(col + 8u, k),
    );
}

fn settle(h: Ahead, stage: u32, i: u32) {
    tile_a[stage * 16u + (i ^ stage)] = h.a0;
    tile_a[(stage + 8u) * 16u + (i ^ (stage + 8u))] = h.a1;
    tile_b[stage * 16u + (i ^ stage)] = h.b0;
    tile_b[(stage + 8u) * 16u + (i ^ (stage + 8u))] = h.b1;
}

// Four more steps of the sums of row `r` in column `c` and the one 8 further.
fn more(sum: Sum, r: u32, c: u32, k: u32) -> Sum {
    let a = tile_a[r * 16u + (k ^ r)];
    let b = tile_b[c * 16u + (k ^ c)];
    let d = tile_b[(c + 8u) * 16u + (k ^ (c + 8u))];
    var s = sum;
    s = fma(vec2<f32>(a.x), vec2<f32>(b.x, d.x), s);
    s = fma(vec2<f32>(a.y), vec2<f32>(b.y, d.y), s);
    s = fma(vec2<f32>(a.z), vec2<f32>(b.z, d.z), s);
    return fma(vec2<f32>(a.w), vec2<f32>(b.w, d.w), s);
}

fn put(row: u32, col: u32, sum: Sum) {
    put_two(row, col, sum.x, sum.y);
}
