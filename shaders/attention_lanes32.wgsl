// Thirty-two invocations per work item, merged in lane order through workgroup memory.
const LANES: u32 = 32u;
const N4: u32 = ROWS * HEAD4;
const SLICE: u32 = 8u; // vec4 exchanged per step

var<workgroup> lane_state: array<vec2<f32>, WG>;
var<workgroup> lane_slice: array<vec4<f32>, WG * SLICE>;

// (maximum, sum of exponentials) over the lanes of the item.
fn merge_softmax(top: f32, sum: f32, lid: u32) -> vec2<f32> {
    lane_state[lid] = vec2(top, sum);
    workgroupBarrier();
    let first = lid - lid % LANES;
    var all = lane_state[first];
    for (var i = 1u; i < LANES; i++) {
        let other = lane_state[first + i];
        let high = max(all.x, other.x);
        all = vec2(high, all.y * exp(all.x - high) + other.y * exp(other.x - high));
    }
    workgroupBarrier();
    return all;
}

// Sums `acc` over the lanes of the item in order; element i is valid on lane i % LANES afterwards.
fn merge_sum(acc: ptr<function, array<vec4<f32>, N4>>, lid: u32) {
    let lane = lid % LANES;
    let first = lid - lane;
    for (var base = 0u; base < N4; base += SLICE) {
        for (var i = 0u; i < SLICE; i++) {
            if (base + i < N4) {
                lane_slice[lid * SLICE + i] = (*acc)[base + i];
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < SLICE; i++) {
            if (base + i < N4 && (base + i) % LANES == lane) {
                var sum = lane_slice[first * SLICE + i];
                for (var other = 1u; other < LANES; other++) {
                    sum += lane_slice[(first + other) * SLICE + i];
                }
                (*acc)[base + i] = sum;
            }
        }
        workgroupBarrier();
    }
}
