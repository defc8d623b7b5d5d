//! Cache operators, eviction priorities, prefetch sizes and policies (PTX ISA, "Cache Operators", "Cache Eviction
//! Priority Hints"): they change no value, and each instruction has its own.

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::Space;

/// Which hints an access has.
#[derive(Clone, Copy, Default)]
pub(super) struct Hints {
    /// `.ca` and its like.
    pub operator: bool,
    /// `.L1::evict_last` and its like.
    pub priority: bool,
    /// `.L2::128B` and its like.
    pub prefetch: bool,
    /// `.L2::cache_hint`, which comes with an operand.
    pub policy: bool,
}

const PRIORITIES: &[&str] = &[
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
];

const PREFETCHES: &[&str] = &["L2::64B", "L2::128B", "L2::256B"];

impl Inst<'_, '_, '_> {
    /// Takes the hints of a load with the given cache operators, or, `is_store`, of a store.
    pub fn access_hints(&mut self, operators: &[&str], is_store: bool) -> Hints {
        Hints {
            operator: self.take_one_of(operators),
            priority: self.take_one_of(PRIORITIES),
            prefetch: !is_store && self.take_one_of(PREFETCHES),
            policy: self.take("L2::cache_hint"),
        }
    }

    /// Takes the hints of `cp.async`.
    pub fn copy_hints(&mut self) -> Hints {
        Hints {
            prefetch: self.take_one_of(PREFETCHES),
            policy: self.take("L2::cache_hint"),
            ..Hints::default()
        }
    }

    fn take_one_of(&mut self, words: &[&str]) -> bool {
        self.take_map(|word| words.contains(&word).then_some(()))
            .is_some()
    }

    /// The rules that tie hints to each other and to the space.
    pub fn check_hints(&self, hints: Hints, space: Space) -> Result<(), PtxError> {
        let Hints {
            operator,
            priority,
            prefetch,
            policy,
        } = hints;
        let is_device = matches!(space, Space::Global | Space::Generic);
        let rule = if !is_device && (priority || prefetch || policy) {
            ".L1:: and .L2:: hints are for .global and generic addresses"
        } else if operator && priority {
            "a cache operator and an eviction priority exclude each other"
        } else {
            return Ok(());
        };
        Err(self.bad(rule))
    }

    /// Checks that operand `i` is there where `.L2::cache_hint` is, and only there.
    pub fn cache_policy(&mut self, i: usize, has_policy: bool) -> Result<(), PtxError> {
        if (self.ins.operands.len() > i) != has_policy {
            return Err(self.bad("a policy operand comes with .L2::cache_hint, and only then"));
        }
        if has_policy {
            self.r64(i, Ty::B64)?;
        }
        Ok(())
    }
}
