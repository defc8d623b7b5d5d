//! The carry flag holds a value only in straight-line code behind the `.cc` instruction that set it, and not across
//! calls (PTX ISA, "Extended-Precision Integer Arithmetic Instructions").

use std::collections::HashSet;

use super::builder::{Builder, File};
use super::flow::blocks;
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::{LaneOp, Op};

/// Refuses a carry flag that is read where nothing has set it.
pub(super) fn check(builder: &Builder) -> Result<(), PtxError> {
    // An addition that takes no carry in reads a constant.
    let preloads = builder.preloads.iter();
    let constants = preloads.filter(|((file, _), _)| *file == File::Pred);
    let constants: HashSet<u16> = constants.map(|(_, &register)| register).collect();
    for block in blocks(builder) {
        let mut set = constants.clone();
        for line in &builder.code[block.start..block.end] {
            let (carry_in, carry_out) = match line.op {
                Op::Lane(LaneOp::Carry32(op)) => (op.carry_in, op.carry_out),
                Op::Lane(LaneOp::Carry64(op)) => (op.carry_in, op.carry_out),
                _ => continue,
            };
            if !set.contains(&carry_in.0) {
                return Err(PtxError::new(line.location.line, PtxErrorKind::StaleCarry));
            }
            set.insert(carry_out.0);
        }
    }
    Ok(())
}
