// Row reductions, one invocation per row: no barrier, for adapters where barriers are slow.
const LANES: u32 = 1u;
const ROWS_PER_GROUP: u32 = WG;

fn reduce_add(value: f32, lid: u32) -> f32 {
    return value;
}

fn reduce_max(value: f32, lid: u32) -> f32 {
    return value;
}
