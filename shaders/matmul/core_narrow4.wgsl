// Core for few rows and a narrow w on GPUs: a workgroup of 64 makes 16 rows by 4 columns, so that a few hundred columns fill a device.
// The loop is few_rows.wgsl.

var<workgroup> tile_a: array<vec4<f32>, 256>; // [16 rows][16 quads of steps], quad i of row r at r*16 + (i ^ r)
var<workgroup> tile_b: array<vec4<f32>, 64>; // [4 columns][16 quads of steps], likewise

alias Sum = f32;

// What an invocation brings in: quad `i` of rows and of columns that lie 4 apart.
struct Ahead {
    a0: vec4<f32>,
    a1: vec4<f32>,
    a2: vec4<f32>,
    a3: vec4<f32>,
    b0: vec4<f32>,
}

fn bring(row: u32, col: u32, i: u32) -> Ahead {
    let k = min(i, p.depth4 - 1u);
    return Ahead(
        a4(row + 0u, k),
        a4(row + 4u, k),
        a4(row + 8u, k),
        a4(row + 12u, k),
        column4(col + 0u, k),
    );
}

fn settle(h: Ahead, stage: u32, i: u32) {
    tile_a[stage * 16u + (i ^ stage)] = h.a0;
    tile_a[(stage + 4u) * 16u + (i ^ (stage + 4u))] = h.a1;
    tile_a[(stage + 8u) * 16u + (i ^ (stage + 8u))] = h.a2;
    tile_a[(stage + 12u) * 16u + (i ^ (stage + 12u))] = h.a3;
    tile_b[stage * 16u + (i ^ stage)] = h.b0;
}

// Four more steps of the sums of row `r` in column `c`.
fn more(sum: Sum, r: u32, c: u32, k: u32) -> Sum {
    let a = tile_a[r * 16u + (k ^ r)];
    let b = tile_b[c * 16u + (k ^ c)];
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

fn put(row: u32, col: u32, sum: Sum) {
    put_one(row, col, sum);
}
