// Four f32 at a time: for rows whose length is a multiple of four.
alias E = vec4<f32>;

fn total(e: E) -> f32 {
    return (e.x + e.y) + (e.z + e.w);
}

fn largest(e: E) -> f32 {
    return max(max(e.x, e.y), max(e.z, e.w));
}

// Component `i` of a unit.
fn part(e: E, i: u32) -> f32 {
    return select(select(e.x, e.y, i == 1u), select(e.z, e.w, i == 3u), i >= 2u);
}

// 1 where the element at unit `c` is element `index` of its row, else 0.
fn one_hot(c: u32, index: u32) -> E {
    return select(vec4(0.0), vec4(1.0), vec4(c * 4u) + vec4(0u, 1u, 2u, 3u) == vec4(index));
}

// True where an element is NaN or infinite, by its exponent bits.
fn broken(e: E) -> vec4<bool> {
    return (bitcast<vec4<u32>>(e) & vec4(0x7f800000u)) == vec4(0x7f800000u);
}
