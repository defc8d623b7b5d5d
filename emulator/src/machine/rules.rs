//! Every rule that a launch must satisfy. A broken one is a sentence with the rule and the value.

use crate::ir::{BlockShape, Kernel, SharedModel};

use super::launch::Launch;

/// Largest shared memory of a block on any supported target (sm_90), in bytes.
const MAX_SHARED_BYTES: u32 = 227 * 1024;
/// Largest local memory of a thread in bytes (CUDA programming guide, compute capabilities).
const MAX_LOCAL_BYTES: u32 = 512 * 1024;
/// Limits of the ISA: threads per axis of a block, threads per block, blocks per axis of a grid.
const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
const MAX_THREADS: u32 = 1024;
const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
/// Blocks of a cluster at most (CUDA programming guide, "Thread Block Clusters": the portable size).
pub(crate) const MAX_CLUSTER_BLOCKS: u32 = 8;

/// Checks a launch of `kernel`.
pub(crate) fn check(kernel: &Kernel, launch: &Launch) -> Result<(), String> {
    check_shapes(kernel, launch)?;
    check_cluster(kernel, launch)?;
    if launch.params.len() != kernel.param_bytes as usize {
        let (got, want) = (launch.params.len(), kernel.param_bytes);
        return Err(format!(
            "{got} bytes of parameters were given, the entry declares {want}"
        ));
    }
    check_memory(kernel, launch)
}

fn within(values: [u32; 3], limits: [u32; 3]) -> bool {
    let mut pairs = values.iter().zip(limits);
    pairs.all(|(value, limit)| (1..=limit).contains(value))
}

fn check_shapes(kernel: &Kernel, launch: &Launch) -> Result<(), String> {
    let (grid, block) = (launch.grid, launch.block);
    if !within(grid, MAX_GRID) {
        return Err(format!(
            "grid {grid:?} must be at least 1 and at most {MAX_GRID:?}"
        ));
    }
    if !within(block, MAX_BLOCK) || block.iter().product::<u32>() > MAX_THREADS {
        return Err(format!(
            "block {block:?} must be at least 1, at most {MAX_BLOCK:?} and {MAX_THREADS} threads in all"
        ));
    }
    match kernel.block_shape {
        BlockShape::Exactly(shape) if shape != block => Err(format!(
            "block {block:?} must be {shape:?}, as .reqntid says"
        )),
        BlockShape::AtMost(threads) if block.iter().product::<u32>() > threads => Err(format!(
            "block {block:?} has more than the {threads} threads of .maxntid"
        )),
        _ => Ok(()),
    }
}

fn check_cluster(kernel: &Kernel, launch: &Launch) -> Result<(), String> {
    let bounds = kernel.cluster;
    let Some(cluster) = launch.cluster.or(bounds.required) else {
        if bounds.explicit {
            return Err(
                "no cluster was given, and .explicitcluster wants one; give the launch a cluster"
                    .to_string(),
            );
        }
        return Ok(());
    };
    if kernel.shared.model == SharedModel::Flat {
        return Err(format!(
            "cluster {cluster:?} needs a module for .target sm_90 or later"
        ));
    }
    if let Some(required) = bounds.required.filter(|required| *required != cluster) {
        return Err(format!(
            "cluster {cluster:?} must be {required:?}, as .reqnctapercluster says"
        ));
    }
    let blocks = cluster
        .iter()
        .fold(1, |product: u32, n| product.saturating_mul(*n));
    if !(1..=MAX_CLUSTER_BLOCKS).contains(&blocks) {
        return Err(format!(
            "cluster {cluster:?} must be at least 1 and have at most {MAX_CLUSTER_BLOCKS} blocks; \
             more, up to 16, are not portable and not emulated"
        ));
    }
    if let Some(most) = bounds.max_blocks.filter(|most| blocks > *most) {
        return Err(format!(
            "cluster {cluster:?} has more than the {most} blocks of .maxclusterrank"
        ));
    }
    let grid = launch.grid;
    if (0..3).any(|axis| !grid[axis].is_multiple_of(cluster[axis])) {
        return Err(format!(
            "grid {grid:?} must be a multiple of cluster {cluster:?} along each axis"
        ));
    }
    Ok(())
}

fn check_memory(kernel: &Kernel, launch: &Launch) -> Result<(), String> {
    let shared = kernel.shared;
    if launch.dynamic_shared_bytes > 0 && shared.dynamic_align.is_none() {
        return Err(format!(
            "{} bytes of dynamic shared memory were given, the entry declares no .extern .shared array",
            launch.dynamic_shared_bytes
        ));
    }
    if kernel.local_bytes > MAX_LOCAL_BYTES {
        let bytes = kernel.local_bytes;
        return Err(format!(
            "{bytes} bytes of local memory per thread exceed {MAX_LOCAL_BYTES}"
        ));
    }
    let too_wide = |align: &u32| *align > MAX_SHARED_BYTES;
    if let Some(align) = shared.dynamic_align.filter(too_wide) {
        return Err(format!(
            "alignment {align} of the .extern .shared array exceeds shared memory"
        ));
    }
    let used =
        (shared.static_end - shared.model.first()).saturating_add(launch.dynamic_shared_bytes);
    if used > MAX_SHARED_BYTES {
        return Err(format!(
            "{used} bytes of shared memory exceed {MAX_SHARED_BYTES}"
        ));
    }
    Ok(())
}
