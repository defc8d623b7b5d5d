//! Faults: what a kernel did wrong, and where.
//!
//! ```text
//! kind.rs         the rules that a kernel can break
//! asynchrony.rs   those of mbarriers and bulk copies
//! extent.rs       memory that an access misses
//! party.rs        accesses and values that a report names beside the faulty instruction
//! standing.rs     where lanes and warps stand that cannot go on
//! report.rs       the text over several lines
//! help.rs         which sanitizer it is, the way out
//! ```

mod asynchrony;
mod extent;
mod help;
mod kind;
mod party;
mod report;
mod standing;

use crate::ir::Space;

pub use asynchrony::{BulkRule, MbarrierRule};
pub use extent::Extent;
pub use help::Sanitizer;
pub use kind::FaultKind;
pub use party::{AccessKind, Conflict, Origin, Party, Use};
pub use report::Report;
pub use standing::{
    Awaited, AwaitedPhase, BarrierStanding, BlockStanding, LanesAt, MbarrierStanding,
    RegisterStanding, Standing, WarpStanding,
};

/// A kernel broke a rule of the ISA, or could not be launched. The launch stopped there; the
/// contents of device memory are those at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The broken rule, with the address where there is one.
    pub kind: FaultKind,
    /// Entry name.
    pub entry: Box<str>,
    /// One-based PTX line; 0 when the launch itself was refused.
    pub line: u32,
    /// Source file and one-based line, when the text carries `.loc` directives: of nested calls that the compiler
    /// inlined, the innermost one outside of Rust's `core/`.
    pub source: Option<(String, u32)>,
    /// Block index (`%ctaid`).
    pub block: [u32; 3],
    /// Warp inside the block.
    pub warp: u32,
    /// The first lane concerned, when the fault is not one of the whole warp.
    pub lane: Option<u32>,
}

impl std::error::Error for Fault {}

impl Fault {
    /// Entry, line, block, warp, lane.
    fn place(&self) -> String {
        let mut place = format!("{}, PTX line {}", self.entry, self.line);
        if let Some((file, line)) = &self.source {
            place += &format!(" ({file}:{line})");
        }
        let [x, y, z] = self.block;
        place += &format!(", block ({x}, {y}, {z}), warp {}", self.warp);
        if let Some(lane) = self.lane {
            place += &format!(", lane {lane}");
        }
        place
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let FaultKind::Launch(_) = self.kind {
            return write!(f, "cannot launch {}: {}", self.entry, self.kind);
        }
        write!(f, "{}: {}", self.place(), self.kind)
    }
}

/// A fault before the machine adds where it happened.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The rule.
    pub kind: FaultKind,
    /// First lane concerned.
    pub lane: Option<u32>,
    /// Program counter, once known.
    pub pc: u32,
}

/// Result of executing something: a fault is rare and boxed, so that success costs one register.
pub(crate) type Outcome<T = ()> = Result<T, Box<Trouble>>;

/// A fault of one lane.
#[cold]
pub(crate) fn lane_fault<T>(lane: u32, kind: FaultKind) -> Outcome<T> {
    Err(Box::new(Trouble {
        kind,
        lane: Some(lane),
        pc: 0,
    }))
}

/// A fault of the whole warp.
#[cold]
pub(crate) fn warp_fault<T>(kind: FaultKind) -> Outcome<T> {
    Err(Box::new(Trouble {
        kind,
        lane: None,
        pc: 0,
    }))
}

/// The name of a space in messages.
pub(crate) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Global => "global",
        Space::Shared => "shared",
        Space::SharedCluster => "shared::cluster",
        Space::Local => "local",
        Space::Const => "const",
        Space::Param => "param",
        Space::Generic => "generic",
    }
}
