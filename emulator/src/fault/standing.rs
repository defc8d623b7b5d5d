//! Where lanes and warps stand that cannot go on.

use std::fmt::{self, Display};

/// Lanes of a warp that stand at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanesAt {
    /// Bit i is lane i.
    pub lanes: u32,
    /// One-based PTX line.
    pub line: u32,
}

/// Where the warps stand of a block or of a cluster that does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The block, or all blocks of the cluster.
    pub blocks: Vec<BlockStanding>,
}

/// Where the warps of a block stand, and what its barriers wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockStanding {
    /// Block index.
    pub block: [u32; 3],
    /// All warps of the block.
    pub warps: Vec<WarpStanding>,
    /// The barriers that somebody has arrived at.
    pub barriers: Vec<BarrierStanding>,
    /// The mbarriers whose phase has begun, or that somebody waits for.
    pub mbarriers: Vec<MbarrierStanding>,
}

/// Where one warp stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarpStanding {
    /// Warp inside the block.
    pub warp: u32,
    /// The barrier that it waits at.
    pub barrier: Option<u32>,
    /// Its lanes; empty when all have exited.
    pub places: Vec<LanesAt>,
}

/// How far one barrier has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierStanding {
    /// Its number.
    pub id: u32,
    /// Warps that have arrived.
    pub arrived: Vec<u32>,
    /// Threads that it waits for, those of `arrived` included.
    pub threads: u32,
}

/// How far one mbarrier has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MbarrierStanding {
    /// Shared address of its first byte.
    pub address: u32,
    /// Number of its running phase.
    pub phase: u64,
    /// Arrivals that have not come, of so many.
    pub pending: u32,
    /// Arrivals of a phase.
    pub expected: u32,
    /// Transaction bytes that have not come; negative when more came than were announced.
    pub bytes: i64,
    /// Warps that wait for it, each with the phase or parity that it waits for.
    pub waiting: Vec<(u32, AwaitedPhase)>,
}

/// How a thread names the phase that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedPhase {
    /// By its number, from a token.
    Number(u64),
    /// By the parity of its number.
    Parity(u32),
}

impl Standing {
    /// The sentences of each block, which names itself when it is one of several.
    pub(super) fn sentences(&self) -> impl Iterator<Item = String> {
        let is_alone = self.blocks.len() == 1;
        self.blocks.iter().flat_map(move |block| {
            let [x, y, z] = block.block;
            block.sentences().map(move |sentence| {
                if is_alone {
                    sentence
                } else {
                    format!("block ({x}, {y}, {z}): {sentence}")
                }
            })
        })
    }
}

impl BlockStanding {
    /// A sentence for each warp, equal ones together, and for each barrier.
    fn sentences(&self) -> impl Iterator<Item = String> {
        let same =
            |a: &WarpStanding, b: &WarpStanding| (a.barrier, &a.places) == (b.barrier, &b.places);
        let warps = self.warps.chunk_by(same).map(warps_sentence);
        let barriers = self.barriers.iter().map(BarrierStanding::to_string);
        let mbarriers = self.mbarriers.iter().map(MbarrierStanding::to_string);
        warps.chain(barriers).chain(mbarriers)
    }
}

/// What `warps`, which follow each other, have in common.
fn warps_sentence(warps: &[WarpStanding]) -> String {
    let (first, last) = (&warps[0], &warps[warps.len() - 1]);
    let (who, has, waits, stands) = if warps.len() == 1 {
        (format!("warp {}", first.warp), "has", "waits", "stands")
    } else {
        let who = format!("warps {} to {}", first.warp, last.warp);
        (who, "have", "wait", "stand")
    };
    let lines: Vec<String> = first.places.iter().map(|at| at.line.to_string()).collect();
    let line = match &lines[..] {
        [] => return format!("{who} {has} exited"),
        [line] => format!("PTX line {line}"),
        lines => format!("PTX lines {}", lines.join(", ")),
    };
    match first.barrier {
        Some(id) => format!("{who} {waits} at barrier {id}, {line}"),
        None => format!("{who} {stands} at {line}"),
    }
}

impl Display for BarrierStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrived: Vec<String> = self.arrived.iter().map(u32::to_string).collect();
        let (id, threads, awaited) = (self.id, 32 * self.arrived.len(), self.threads);
        let warps = if arrived.len() == 1 { "warp" } else { "warps" };
        write!(
            f,
            "barrier {id} has {threads} of {awaited} threads, from {warps} {}",
            arrived.join(", ")
        )
    }
}

impl Display for MbarrierStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            phase,
            pending,
            expected,
            bytes,
            ..
        } = self;
        write!(
            f,
            "mbarrier at shared address {address:#x}, phase {phase}, lacks {pending} of {expected} arrivals"
        )?;
        match bytes {
            0 => {}
            1.. => write!(f, " and {bytes} transaction bytes")?,
            _ => write!(f, " and has {} transaction bytes too many", -bytes)?,
        }
        for same in self.waiting.chunk_by(|a, b| a.1 == b.1) {
            let warps: Vec<String> = same.iter().map(|(warp, _)| warp.to_string()).collect();
            let who = match &warps[..] {
                [warp] => format!("warp {warp} waits"),
                warps => format!("warps {} wait", warps.join(", ")),
            };
            match same[0].1 {
                AwaitedPhase::Number(phase) => write!(f, ", {who} for phase {phase}")?,
                AwaitedPhase::Parity(parity) => write!(f, ", {who} for parity {parity}")?,
            }
        }
        Ok(())
    }
}

impl Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences().collect::<Vec<_>>().join("; "))
    }
}

impl Display for LanesAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lanes {:#010x} wait at PTX line {}",
            self.lanes, self.line
        )
    }
}

/// The places one after the other.
pub(super) fn listed(places: &[LanesAt]) -> String {
    let places: Vec<String> = places.iter().map(LanesAt::to_string).collect();
    places.join(", ")
}
