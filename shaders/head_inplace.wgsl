@group(0) @binding(3) var<storage, read_write> dz: array<E>; // [rows, cols], the logits on entry

fn logit(i: u32) -> E {
    return dz[i];
}
