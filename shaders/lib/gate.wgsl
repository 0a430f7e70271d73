// silu(gate) up, silu(g) = g / (1 + exp(-g)) (Shazeer 2020).
fn gated(gate: E, up: E) -> E {
    let e = exp(-abs(gate)); // at most 1: no overflow on either side
    return gate * (select(e, E(1.0), gate >= E(0.0)) / (1.0 + e)) * up;
}
