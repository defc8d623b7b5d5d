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

/// Where the warps stand of a cluster that does not end, if only of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The blocks of the cluster, by rank.
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
    /// The register pool, when somebody waits for registers.
    pub registers: Option<RegisterStanding>,
    /// Warps that have not arrived at the barrier of the cluster in this phase.
    pub cluster_awaits: Vec<u32>,
}

/// A barrier that a warp waits at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// One of the block, by its number.
    Barrier(u32),
    /// That of the cluster.
    ClusterBarrier,
}

/// What is left in a block's register pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterStanding {
    /// Registers that nobody holds.
    pub free: u32,
    /// Warps that wait, each with the registers that it lacks.
    pub waiting: Vec<(u32, u32)>,
}

/// Where one warp stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarpStanding {
    /// Warp inside the block.
    pub warp: u32,
    /// The barrier that it waits at.
    pub awaits: Option<Awaited>,
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
        let blocks = self.blocks.iter().flat_map(move |block| {
            let [x, y, z] = block.block;
            block.sentences().map(move |sentence| {
                if is_alone {
                    sentence
                } else {
                    format!("block ({x}, {y}, {z}): {sentence}")
                }
            })
        });
        blocks.chain(self.cluster_sentence())
    }

    /// Which warps the barrier of the cluster waits for, when a warp waits there.
    fn cluster_sentence(&self) -> Option<String> {
        let mut warps = self.blocks.iter().flat_map(|block| &block.warps);
        if !warps.any(|warp| warp.awaits == Some(Awaited::ClusterBarrier)) {
            return None;
        }
        let late = self.blocks.iter();
        let late = late.filter(|block| !block.cluster_awaits.is_empty());
        let late: Vec<String> = late
            .map(|block| {
                let [x, y, z] = block.block;
                let warps: Vec<String> = block.cluster_awaits.iter().map(u32::to_string).collect();
                format!("block ({x}, {y}, {z}) warp {}", warps.join(", "))
            })
            .collect();
        Some(format!("barrier.cluster waits for {}", late.join("; ")))
    }
}

impl BlockStanding {
    /// A sentence for each warp, equal ones together, and for each barrier.
    fn sentences(&self) -> impl Iterator<Item = String> {
        let same =
            |a: &WarpStanding, b: &WarpStanding| (a.awaits, &a.places) == (b.awaits, &b.places);
        let warps = self.warps.chunk_by(same).map(warps_sentence);
        let barriers = self.barriers.iter().map(BarrierStanding::to_string);
        let mbarriers = self.mbarriers.iter().map(MbarrierStanding::to_string);
        let registers = self.registers.iter().map(RegisterStanding::to_string);
        warps.chain(barriers).chain(mbarriers).chain(registers)
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
    match first.awaits {
        Some(barrier) => format!("{who} {waits} at {barrier}, {line}"),
        None => format!("{who} {stands} at {line}"),
    }
}

impl Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaited::Barrier(id) => write!(f, "barrier {id}"),
            Awaited::ClusterBarrier => write!(f, "barrier.cluster"),
        }
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

impl Display for RegisterStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the register pool has {} registers", self.free)?;
        for (warp, registers) in &self.waiting {
            write!(f, ", warp {warp} asks for {registers}")?;
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
