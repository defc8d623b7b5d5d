//! What a schedule does with each choice that the ISA leaves open.
//!
//! A plan holds for a whole launch. Where it says that something is drawn, every cluster (without
//! clusters: every block) draws for itself, from the seed and its number.

use std::fmt::{self, Display};

use super::chance::{Generator, PLAN_STREAM, Schedule};
use super::rules::MAX_CLUSTER_BLOCKS;

/// A way to run a launch; `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Order of blocks.
    pub blocks: BlockOrder,
    /// Which block of a cluster runs one of its warps.
    pub peers: PeerOrder,
    /// Which of the warps that can run does so.
    pub warps: WarpOrder,
    /// When it gives way to another one.
    pub turns: Turns,
    /// Which lanes of a divergent warp run first.
    pub lanes: LaneOrder,
    /// When asynchronous copies move their bytes, and products read their operands.
    pub copies: CopyTiming,
    /// How many times twice its alignment the `.extern .shared` array lies behind its first possible
    /// place: it is always aligned as declared and never better.
    pub shared_step: u32,
    /// What registers, local and shared memory hold before they are written.
    pub fill: Fill,
}

/// Order of blocks; with clusters, of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOrder {
    /// By number.
    Ascending,
    /// A drawn permutation.
    Permuted,
}

/// Which block of a cluster runs one of its warps. Ranks are taken modulo the blocks of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerOrder {
    /// One after the other.
    RoundRobin,
    /// One after the other, downwards.
    Reverse,
    /// A drawn one each time.
    Drawn,
    /// One block starts only when no other can run, and is one of many then.
    Late(u32),
    /// One block runs only when no other can.
    Starved(u32),
    /// One block runs whenever it can.
    Favoured(u32),
}

/// Which of the warps that can run does so. Warp numbers are taken modulo the warps of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarpOrder {
    /// One after the other.
    RoundRobin,
    /// One after the other, downwards.
    Reverse,
    /// A drawn one each time.
    Drawn,
    /// One warp runs only when no other can.
    Starved(u32),
    /// Four warps, from four times this number on, run only when no other can.
    StarvedWarpgroup(u32),
    /// One warp runs whenever it can.
    Favoured(u32),
}

/// When a warp that could go on gives way to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Never, unless it spins.
    Unbroken,
    /// After a drawn number of instructions, at most this one.
    Drawn(u32),
    /// Behind atomics, fences and waits for copies.
    Synchronisation,
    /// After every instruction.
    Single,
}

/// Which lanes of a divergent warp run first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneOrder {
    /// Those whose program counter is lowest.
    LowestFirst,
    /// Those whose program counter is highest.
    HighestFirst,
}

/// When an asynchronous copy moves its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyTiming {
    /// When it is waited for.
    AtWait,
    /// When it is issued.
    AtIssue,
    /// One of the two, drawn for each instruction; bulk copies also in pieces between the two.
    DrawnPerInstruction,
    /// One of the two, drawn for each lane's 4 to 16 bytes; bulk copies in pieces between the two.
    DrawnPerLane,
}

/// What registers, local and shared memory hold before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Not a number, in every floating-point format.
    NotANumber,
    /// Zero.
    Zero,
    /// Large numbers, in every floating-point format; predicates are true.
    Large,
    /// Large negative numbers; predicates are true.
    Negative,
}

/// Turns that are drawn are this long at most.
const LONGEST_TURNS: [u32; 3] = [8, 60, 400];
/// Places that the `.extern .shared` array may have.
const SHARED_STEPS: u64 = 8;

impl Plan {
    pub(crate) const IN_ORDER: Plan = Plan {
        blocks: BlockOrder::Ascending,
        peers: PeerOrder::RoundRobin,
        warps: WarpOrder::RoundRobin,
        turns: Turns::Unbroken,
        lanes: LaneOrder::LowestFirst,
        copies: CopyTiming::AtWait,
        shared_step: 0,
        fill: Fill::NotANumber,
    };

    /// The plan of a seed.
    pub(crate) fn draw(draw: &mut Generator) -> Plan {
        let number = draw.below(32) as u32;
        let longest = draw.pick(LONGEST_TURNS);
        let mut plan = Plan {
            blocks: BlockOrder::Permuted,
            peers: PeerOrder::RoundRobin,
            warps: draw.pick([
                WarpOrder::RoundRobin,
                WarpOrder::Reverse,
                WarpOrder::Drawn,
                WarpOrder::Starved(number),
                WarpOrder::StarvedWarpgroup(number / 4),
                WarpOrder::Favoured(number),
            ]),
            turns: draw.pick([
                Turns::Unbroken,
                Turns::Drawn(longest),
                Turns::Synchronisation,
                Turns::Single,
            ]),
            lanes: draw.pick([LaneOrder::LowestFirst, LaneOrder::HighestFirst]),
            copies: draw.pick([
                CopyTiming::AtWait,
                CopyTiming::AtIssue,
                CopyTiming::DrawnPerInstruction,
                CopyTiming::DrawnPerLane,
            ]),
            shared_step: draw.below(SHARED_STEPS) as u32,
            fill: draw.pick([Fill::NotANumber, Fill::Zero, Fill::Large, Fill::Negative]),
        };
        let rank = draw.below(MAX_CLUSTER_BLOCKS.into()) as u32;
        plan.peers = draw.pick([
            PeerOrder::RoundRobin,
            PeerOrder::Reverse,
            PeerOrder::Drawn,
            PeerOrder::Late(rank),
            PeerOrder::Starved(rank),
            PeerOrder::Favoured(rank),
        ]);
        plan
    }
}

impl Schedule {
    /// What it does.
    pub fn plan(self) -> Plan {
        match self {
            Schedule::InOrder => Plan::IN_ORDER,
            Schedule::Seeded(seed) => Plan::draw(&mut Generator::new(seed, PLAN_STREAM)),
        }
    }
}

impl Fill {
    /// Each byte of memory.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Fill::NotANumber => 0xff,
            Fill::Zero => 0,
            Fill::Large => 0x7b,
            Fill::Negative => 0xfb,
        }
    }

    /// A 32-bit register. Not-a-number is no plausible address either.
    pub(crate) fn word(self) -> u32 {
        match self {
            Fill::NotANumber => 0x7fff_ffff,
            _ => u32::from_ne_bytes([self.byte(); 4]),
        }
    }

    /// A predicate, for all lanes.
    pub(crate) fn predicate(self) -> u32 {
        match self {
            Fill::NotANumber | Fill::Zero => 0,
            Fill::Large | Fill::Negative => u32::MAX,
        }
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = match self.blocks {
            BlockOrder::Ascending => "blocks by number",
            BlockOrder::Permuted => "blocks permuted",
        };
        let lanes = match self.lanes {
            LaneOrder::LowestFirst => "lanes with the lowest program counter first",
            LaneOrder::HighestFirst => "lanes with the highest program counter first",
        };
        let copies = match self.copies {
            CopyTiming::AtWait => "copies when waited for",
            CopyTiming::AtIssue => "copies when issued",
            CopyTiming::DrawnPerInstruction => "copies when issued or waited for, by instruction",
            CopyTiming::DrawnPerLane => "copies when issued or waited for, by lane",
        };
        let fill = match self.fill {
            Fill::NotANumber => "NaN",
            Fill::Zero => "zeros",
            Fill::Large => "large numbers",
            Fill::Negative => "large negative numbers",
        };
        let (peers, warps, turns, step) = (self.peers, self.warps, self.turns, self.shared_step);
        write!(
            f,
            "{blocks}, {peers}, {warps}, {turns}, {lanes}, {copies}, \
             dynamic shared memory at step {step}, {fill} where nothing is written"
        )
    }
}

impl Display for PeerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerOrder::RoundRobin => write!(f, "peers in turn"),
            PeerOrder::Reverse => write!(f, "peers in turn downwards"),
            PeerOrder::Drawn => write!(f, "peers drawn"),
            PeerOrder::Late(rank) => write!(f, "peer {rank} (modulo their number) late"),
            PeerOrder::Starved(rank) => write!(f, "peer {rank} (modulo their number) starved"),
            PeerOrder::Favoured(rank) => write!(f, "peer {rank} (modulo their number) favoured"),
        }
    }
}

impl Display for WarpOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WarpOrder::RoundRobin => write!(f, "warps in turn"),
            WarpOrder::Reverse => write!(f, "warps in turn downwards"),
            WarpOrder::Drawn => write!(f, "warps drawn"),
            WarpOrder::Starved(warp) => write!(f, "warp {warp} (modulo their number) starved"),
            WarpOrder::StarvedWarpgroup(group) => {
                write!(f, "warpgroup {group} (modulo their number) starved")
            }
            WarpOrder::Favoured(warp) => write!(f, "warp {warp} (modulo their number) favoured"),
        }
    }
}

impl Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Turns::Unbroken => write!(f, "each until it must wait"),
            Turns::Drawn(longest) => write!(f, "each for 1 to {longest} instructions"),
            Turns::Synchronisation => write!(f, "each until it synchronises"),
            Turns::Single => write!(f, "each for one instruction"),
        }
    }
}
