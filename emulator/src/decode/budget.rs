//! What decoding one module may cost. A short text can ask for much: calls inside calls, jump tables jumped through
//! often, many registers alive across many branches. Each kind of cost has an allowance for the whole module, which
//! grows with its text; what exceeds it is an error, never a long wait or an exhausted host.

use std::cell::Cell;

use crate::error::PtxError;
use crate::syntax::ModuleTree;

/// Added to every allowance for each byte of the text of functions. The kernels of this project cost less than 3 per
/// byte of any kind.
const PER_BYTE: u64 = 16;

/// What is paid for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    /// Bytes of text of device functions, once for every call that is inlined.
    InlinedText,
    /// Labels of jump tables, once for every `brx.idx` through them.
    JumpTargets,
    /// Bits of the sets of live registers: branches times registers.
    LiveBits,
    /// Words of those sets that were combined until nothing changed any more.
    LiveWords,
    /// Pieces of the lives of registers.
    LivePieces,
    /// Comparisons of such pieces while registers are given their slots.
    SlotSearch,
}

impl Cost {
    /// Its name in an error, and the allowance of a module without text.
    fn allowance(self) -> (&'static str, u64) {
        match self {
            Cost::InlinedText => ("the text of all inlined calls in bytes", 1 << 23),
            Cost::JumpTargets => ("the number of targets of all indexed branches", 1 << 20),
            Cost::LiveBits => ("branches times registers", 1 << 28),
            Cost::LiveWords => ("the work of following values through branches", 1 << 29),
            Cost::LivePieces => ("the number of pieces of register lifetimes", 1 << 23),
            Cost::SlotSearch => ("the work of packing registers into slots", 1 << 27),
        }
    }
}

/// What has been spent on one module.
#[derive(Debug)]
pub(super) struct Budget {
    text_bytes: u64,
    spent: [Cell<u64>; 6],
}

impl Budget {
    /// Nothing has been spent.
    pub fn new(tree: &ModuleTree) -> Self {
        let bytes = tree.functions.iter().map(|function| function.text_bytes);
        Budget {
            text_bytes: bytes.sum::<usize>() as u64,
            spent: Default::default(),
        }
    }

    /// Pays `amount`; an error at `line` when the allowance is used up.
    pub fn spend(&self, cost: Cost, amount: usize, line: u32) -> Result<(), PtxError> {
        let spent = &self.spent[cost as usize];
        let value = spent.get().saturating_add(amount as u64);
        spent.set(value);
        let (what, limit) = cost.allowance();
        let limit = limit.saturating_add(PER_BYTE.saturating_mul(self.text_bytes));
        if value <= limit {
            return Ok(());
        }
        Err(PtxError::limit(line, what, value, limit))
    }
}
