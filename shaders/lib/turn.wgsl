// A half-split pair turned by an angle: written with fma in both kernels that use it, so that no compiler may choose for one of them what
// it does not choose for the other. What decoding puts into the cache has the bits of the training forward.
fn turned_first(a: E, b: E, c: E, s: E) -> E {
    return fma(a, c, -(b * s));
}

fn turned_second(a: E, b: E, c: E, s: E) -> E {
    return fma(b, c, a * s);
}
