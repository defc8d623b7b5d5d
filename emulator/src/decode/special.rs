//! Special registers (PTX ISA chapter 10): which are values known at the start of a warp, which are read by an
//! instruction.

use super::builder::Value;
use super::gates;
use crate::error::PtxError;
use crate::ir::{Axis, Special};
use crate::syntax::ModuleTree;

/// Special registers that change while a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// `%clock`: 32 bits.
    Clock32,
    /// `%clock64`, `%globaltimer`: 64 bits.
    Clock64,
}

/// The reading that `name` stands for.
pub(super) fn reading(name: &str) -> Option<Reading> {
    match name {
        "%clock" | "%clock_lo" | "%globaltimer_lo" => Some(Reading::Clock32),
        "%clock64" | "%globaltimer" => Some(Reading::Clock64),
        _ => None,
    }
}

/// Whether a name that no register declares belongs to the ISA.
pub(super) fn is_special(name: &str) -> bool {
    let prefixes = [
        "%tid",
        "%ntid",
        "%ctaid",
        "%nctaid",
        "%clock",
        "%globaltimer",
        "%envreg",
        "%pm",
        "%reserved_smem",
        "%aggr_smem",
        "%cluster",
        "%ncluster",
        "%current_graph_exec",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses special registers that the module is too old for.
pub(super) fn check(name: &str, line: u32, tree: &ModuleTree) -> Result<(), PtxError> {
    let prefixes = ["%cluster", "%ncluster", "%is_explicit_cluster"];
    if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
        gates::check_sm90(line, name, tree)?;
    }
    Ok(())
}

/// Whether `name` is a special register that is emulated.
pub(super) fn is_known(name: &str) -> bool {
    reading(name).is_some()
        || [None, Some("x")]
            .iter()
            .any(|at| value(name, *at).is_some())
}

/// The value of a special register that never changes, and its bytes.
pub(super) fn value(name: &str, component: Option<&str>) -> Option<(Value, u8)> {
    let bytes = match name {
        "%is_explicit_cluster" => 0,
        "%gridid" => 8,
        _ => 4,
    };
    Some((constant(name, component)?, bytes))
}

fn constant(name: &str, component: Option<&str>) -> Option<Value> {
    let axis = match component {
        None => return scalar(name),
        Some("x" | "r") => Axis::X,
        Some("y" | "g") => Axis::Y,
        Some("z" | "b") => Axis::Z,
        Some(_) => return None,
    };
    Some(match name {
        "%tid" => Value::Special(Special::Tid(axis)),
        "%ntid" => Value::Special(Special::Ntid(axis)),
        "%ctaid" => Value::Special(Special::Ctaid(axis)),
        "%nctaid" => Value::Special(Special::Nctaid(axis)),
        "%clusterid" => Value::Special(Special::ClusterId(axis)),
        "%nclusterid" => Value::Special(Special::NumClusters(axis)),
        "%cluster_ctaid" => Value::Special(Special::BlockInCluster(axis)),
        "%cluster_nctaid" => Value::Special(Special::ClusterShape(axis)),
        _ => return None,
    })
}

fn scalar(name: &str) -> Option<Value> {
    Some(Value::Special(match name {
        "%is_explicit_cluster" => Special::IsExplicitCluster,
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NumWarps,
        "%smid" => Special::SmId,
        "%nsmid" => Special::NumSms,
        "%gridid" => Special::GridId,
        "%lanemask_eq" => Special::LaneMaskEq,
        "%lanemask_lt" => Special::LaneMaskLt,
        "%lanemask_le" => Special::LaneMaskLe,
        "%lanemask_gt" => Special::LaneMaskGt,
        "%lanemask_ge" => Special::LaneMaskGe,
        "%dynamic_smem_size" => Special::DynamicSharedBytes,
        "%total_smem_size" => Special::TotalSharedBytes,
        "%cluster_ctarank" => Special::ClusterRank,
        "%cluster_nctarank" => Special::ClusterBlocks,
        _ => return None,
    }))
}
