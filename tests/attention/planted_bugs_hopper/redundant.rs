//! Places where a mistake is none: what is left out or miscounted there, something else does as well.

/// Kernels, the name of a mistake, and the numbers of its places in their texts, from 0.
type Places = (&'static [&'static str], &'static str, &'static [usize]);

const FORWARD_64: &str = "flash_fwd_sm90_bf16_hdim64";
const FORWARD_128: &str = "flash_fwd_sm90_bf16_hdim128";
const BACKWARD_256: &str = "flash_bwd_sm90_bf16_hdim256";

const FORWARD: &[&str] = &[FORWARD_64, FORWARD_128];

const PLACES: &[Places] = &[
    // Between S and P·V no thread touches O and P, of the step before: the fence before S has them too. It stays because the
    // compiler may put copies of O and P there, and costs nothing: ptxas puts it where it is missing.
    (FORWARD, "no wgmma.fence", &[2, 4]),
    // Before O is staged in the tile of Q: a warp writes the rows of Q that its own products have read. It stays because
    // that is how the emulator reads them; the ISA does not say which warp's product reads which rows of shared memory.
    (FORWARD, "no bar.sync", &[6]),
    // The last turn of the last warpgroup is taken before the block ends; nobody would wait for it.
    (FORWARD, "no bar.sync", &[8]),
    // The compiler has peeled a step off the loop that copies. It is among the first of its tile, whose slots of K and V
    // have been given back with Q of the tile before.
    (&[FORWARD_64], "no mbarrier.try_wait", &[10, 11]),
    // Where warpgroups share columns, no thread touches dV, dK and dQ between the fence before S and their products. It stays
    // because ptxas does not see that: without it every product is waited for (C7512).
    (&[BACKWARD_256], "no wgmma.fence", &[0, 5]),
];

/// Whether place `nth` of the mistake `name` is one of them.
pub fn contains(entry: &str, name: &str, nth: usize) -> bool {
    places(entry, name).any(|place| place == nth)
}

/// The last of these places.
pub fn last(entry: &str, name: &str) -> Option<usize> {
    places(entry, name).max()
}

fn places(entry: &str, name: &str) -> impl Iterator<Item = usize> {
    let of = PLACES
        .iter()
        .filter(move |(entries, mistake, _)| entries.contains(&entry) && *mistake == name);
    of.flat_map(|(_, _, places)| places.iter().copied())
}
