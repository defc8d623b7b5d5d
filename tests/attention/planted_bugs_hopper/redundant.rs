//! Places where a mistake is none: what is left out or miscounted there, something else does as well.

/// Kernels, the name of a mistake, and the numbers of its places in their texts, from 0.
type Places = (&'static [&'static str], &'static str, &'static [usize]);

const FORWARD_64: &str = "flash_fwd_sm90_bf16_hdim64";
const FORWARD_128: &str = "flash_fwd_sm90_bf16_hdim128";
const BACKWARD_64: &str = "flash_bwd_sm90_bf16_hdim64";
const BACKWARD_96: &str = "flash_bwd_sm90_bf16_hdim96";
const BACKWARD_128: &str = "flash_bwd_sm90_bf16_hdim128";
const BACKWARD_256: &str = "flash_bwd_sm90_bf16_hdim256";

const FORWARD: &[&str] = &[FORWARD_64, FORWARD_128];
const BACKWARD: &[&str] = &[BACKWARD_64, BACKWARD_96, BACKWARD_128, BACKWARD_256];

const PLACES: &[Places] = &[
    // Between S and P·V nothing touches O and P: the fence before S has them too.
    (FORWARD, "no wgmma.fence", &[2, 4]),
    // Before O is staged in the tile of Q: a warp writes the rows of Q that its own products have read.
    (FORWARD, "no bar.sync", &[6]),
    // The last turn of the last warpgroup is taken before the block ends; nobody would wait for it.
    (FORWARD, "no bar.sync", &[8]),
    // The compiler has peeled a step off the loop that copies. It is among the first of its tile, whose slots of K and V
    // have been given back with Q of the tile before.
    (&[FORWARD_64], "no mbarrier.try_wait", &[10, 11]),
    // Slots of dO are filled behind those of Q of the same step, which each warp gives back behind those of dO: whatever
    // would end the phase of an empty slot of dO, the wait for dV, and the group that it waits for.
    (BACKWARD, "no mbarrier.try_wait", &[8]),
    (BACKWARD, "mbarrier.init with one arrival less", &[7, 9]),
    (&[BACKWARD_64], "wgmma.wait_group one group short", &[1, 7]),
    (&[BACKWARD_96], "wgmma.wait_group one group short", &[2, 6]),
    (
        &[BACKWARD_128, BACKWARD_256],
        "wgmma.wait_group one group short",
        &[1, 7],
    ),
    (&[BACKWARD_256], "no wgmma.commit_group", &[0, 7]),
    // Before gradients are staged in the tile of V: all have waited for their products with V before the last barrier.
    (BACKWARD, "no bar.sync", &[5]),
    // Where warpgroups share columns, nothing touches dV, dK and dQ since the fence before S.
    (&[BACKWARD_256], "no wgmma.fence", &[0, 5]),
];

/// Whether place `nth` of the mistake `name` is one of them.
pub fn contains(entry: &str, name: &str, nth: usize) -> bool {
    let mut places = PLACES.iter();
    places.any(|(entries, mistake, places)| {
        entries.contains(&entry) && *mistake == name && places.contains(&nth)
    })
}
