@group(0) @binding(3) var<storage, read_write> dz: array<E>; // [rows, cols]
@group(0) @binding(4) var<storage, read> z: array<E>; // [rows, cols]

fn logit(i: u32) -> E {
    return z[i];
}
