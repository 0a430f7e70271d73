// Row reductions, one workgroup per row: a tree over the lanes in a fixed order. Every lane gets the result.
const LANES: u32 = WG;
const ROWS_PER_GROUP: u32 = 1u;

var<workgroup> lane_value: array<f32, LANES>;

fn reduce_add(value: f32, lid: u32) -> f32 {
    lane_value[lid] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lid < half) {
            lane_value[lid] += lane_value[lid + half];
        }
        workgroupBarrier();
    }
    let sum = lane_value[0];
    workgroupBarrier();
    return sum;
}

fn reduce_max(value: f32, lid: u32) -> f32 {
    lane_value[lid] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lid < half) {
            lane_value[lid] = max(lane_value[lid], lane_value[lid + half]);
        }
        workgroupBarrier();
    }
    let top = lane_value[0];
    workgroupBarrier();
    return top;
}
