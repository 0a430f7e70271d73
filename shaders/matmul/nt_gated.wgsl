// Operands of y = silu(x w^T) * (x w1^T), the gate of an MLP and its product with the other half, for the cores that walk over K. A core
// makes columns of both: PAIR of the gate, then the same PAIR of the other, in turn.

struct Params {
    rows: u32,
    cols: u32, // columns of both, padding included: a multiple of 2 PAIR
    depth4: u32, // vec4s per row of x and the weights
    units: u32, // columns of y
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> w1: array<Packed>; // [units, K] as w
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // [M, K] f32
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [M, units] f32

// The unit that column n belongs to.
fn unit_of(n: u32) -> u32 {
    return n / (2u * PAIR) * PAIR + n % PAIR;
}

fn column4(n: u32, i: u32) -> vec4<f32> {
    let unit = min(unit_of(n), p.units - 1u);
    if (n % (2u * PAIR) < PAIR) {
        return w4(unit, i);
    }
    return expand(w1[code_at(unit, i)], w1[scale_at(unit, i)], i);
}

fn epilogue(q: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn put_unit(row: u32, unit: u32, gate: f32, up: f32) {
    if (row < p.rows && unit < p.units) {
        y[row * p.units + unit] = gated(gate, up);
    }
}

// For PAIR = 2: columns 4q .. 4q+3 are two of each.
fn store(slice: u32, row: u32, q: u32, value: vec4<f32>) {
    put_unit(row, q * 2u, value.x, value.z);
    put_unit(row, q * 2u + 1u, value.y, value.w);
}

// For PAIR = 8: columns col and col + 8.
fn put_two(row: u32, col: u32, first: f32, second: f32) {
    put_unit(row, unit_of(col), first, second);
}
