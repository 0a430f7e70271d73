// Results as they are, with a bias. The operand file gives y, y_at(row) (where its row begins) and bias_of(n).

fn epilogue(q: u32) -> vec4<f32> {
    let n = q * 4u;
    return vec4<f32>(bias_of(n), bias_of(n + 1u), bias_of(n + 2u), bias_of(n + 3u));
}

fn store(slice: u32, row: u32, q: u32, value: vec4<f32>) {
    let n = q * 4u;
    let to = y_at(row) + n;
    y[to] = value.x;
    if (n + 1u < p.cols) {
        y[to + 1u] = value.y;
    }
    if (n + 2u < p.cols) {
        y[to + 2u] = value.z;
    }
    if (n + 3u < p.cols) {
        y[to + 3u] = value.w;
    }
}

fn put_one(row: u32, col: u32, value: f32) {
    if (row < p.rows && col < p.cols) {
        y[y_at(row) + col] = value + bias_of(col);
    }
}

fn put_two(row: u32, col: u32, first: f32, second: f32) {
    put_one(row, col, first);
    put_one(row, col + 8u, second);
}
