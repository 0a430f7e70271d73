// Row reductions, one workgroup per row, in two steps of a fixed order: a few lanes reduce LANES / BLOCKS values each, then every
// lane reduces theirs. Two barriers; the second makes `lane_value` free for the next call, the next call's first frees
// `block_value`.
const LANES: u32 = WG;
const ROWS_PER_GROUP: u32 = 1u;
const BLOCKS: u32 = LANES / 16u;

var<workgroup> lane_value: array<f32, LANES>;
var<workgroup> block_value: array<f32, BLOCKS>;

fn reduce_add(value: f32, lid: u32) -> f32 {
    lane_value[lid] = value;
    workgroupBarrier();
    if (lid < BLOCKS) {
        var sum = lane_value[lid];
        for (var i = lid + BLOCKS; i < LANES; i += BLOCKS) {
            sum += lane_value[i];
        }
        block_value[lid] = sum;
    }
    workgroupBarrier();
    var all = block_value[0];
    for (var b = 1u; b < BLOCKS; b++) {
        all += block_value[b];
    }
    return all;
}

fn reduce_max(value: f32, lid: u32) -> f32 {
    lane_value[lid] = value;
    workgroupBarrier();
    if (lid < BLOCKS) {
        var top = lane_value[lid];
        for (var i = lid + BLOCKS; i < LANES; i += BLOCKS) {
            top = max(top, lane_value[i]);
        }
        block_value[lid] = top;
    }
    workgroupBarrier();
    var all = block_value[0];
    for (var b = 1u; b < BLOCKS; b++) {
        all = max(all, block_value[b]);
    }
    return all;
}
