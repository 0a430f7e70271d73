// One f32 at a time: for rows whose length is not a multiple of four.
alias E = f32;

fn total(e: E) -> f32 {
    return e;
}

fn largest(e: E) -> f32 {
    return e;
}

// Component `i` of a unit.
fn part(e: E, i: u32) -> f32 {
    return e;
}

// 1 where the element at unit `c` is element `index` of its row, else 0.
fn one_hot(c: u32, index: u32) -> E {
    return select(0.0, 1.0, c == index);
}

// True where an element is NaN or infinite, by its exponent bits.
fn broken(e: E) -> bool {
    return (bitcast<u32>(e) & 0x7f800000u) == 0x7f800000u;
}
