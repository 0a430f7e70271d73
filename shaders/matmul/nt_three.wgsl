// Operands of y = [x w^T + b, x w1^T + b1, x w2^T + b2] side by side: the three projections of one input, for the cores that walk over K.

struct Params {
    rows: u32,
    cols: u32, // of y
    depth4: u32, // vec4s per row of x and the weights
    second: u32, // first column of w1
    third: u32, // first column of w2
    biases: u32, // bit i: the i-th product has a bias
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> w1: array<Packed>; // [third - second, K] as w
@group(0) @binding(2) var<storage, read> w2: array<Packed>; // [cols - third, K] as w
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [M, K] f32
@group(0) @binding(4) var<storage, read> b: array<f32>; // [1, second] f32; anything when its bit is 0
@group(0) @binding(5) var<storage, read> b1: array<f32>; // [1, third - second], likewise
@group(0) @binding(6) var<storage, read> b2: array<f32>; // [1, cols - third], likewise
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // [M, cols] f32

fn column4(n: u32, i: u32) -> vec4<f32> {
    let c = min(n, p.cols - 1u);
    if (c < p.second) {
        return w4(c, i);
    }
    if (c < p.third) {
        return expand(w1[code_at(c - p.second, i)], w1[scale_at(c - p.second, i)], i);
    }
    return expand(w2[code_at(c - p.third, i)], w2[scale_at(c - p.third, i)], i);
}

fn bias_of(n: u32) -> f32 {
    let c = min(n, p.cols - 1u);
    if (c < p.second) {
        return select(0.0, b[c], (p.biases & 1u) != 0u);
    }
    if (c < p.third) {
        return select(0.0, b1[c - p.second], (p.biases & 2u) != 0u);
    }
    return select(0.0, b2[c - p.third], (p.biases & 4u) != 0u);
}

fn y_at(row: u32) -> u32 {
    return row * p.cols;
}
