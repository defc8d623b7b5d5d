//! From opcode to decoder: the one list of what is known.

use super::inst::Inst;
use crate::error::PtxError;
use crate::ir::Op;

/// Decodes one instruction into the program of its unit.
pub(super) fn decode(inst: &mut Inst) -> Result<(), PtxError> {
    let is_float = inst.last_type().is_some_and(|ty| ty.is_float());
    match inst.ins.opcode {
        "add" | "sub" | "mul" if is_float => inst.float_arithmetic(),
        "add" => inst.integer_add(false),
        "sub" => inst.integer_add(true),
        "mul" => inst.integer_mul(),
        "fma" => inst.fma(),
        "mad" if is_float => inst.fma(),
        "mad" => inst.integer_mad(),
        "addc" => inst.add_with_carry(false),
        "subc" => inst.add_with_carry(true),
        "madc" => inst.mad_with_carry(),
        "mul24" | "mad24" => inst.multiply24(),
        "sad" => inst.sad(),
        "div" if is_float => inst.float_div(),
        "min" | "max" if is_float => inst.float_min_max(),
        "div" | "rem" => inst.integer_binary(),
        "min" | "max" => inst.integer_min_max(),
        "neg" | "abs" if is_float => inst.float_sign(),
        "neg" | "abs" => inst.integer_unary(),
        "copysign" => inst.copysign(),
        "rcp" | "sqrt" => inst.reciprocal_or_root(),
        "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => inst.approximation(),
        "and" | "or" | "xor" => inst.logic(),
        "not" | "cnot" => inst.not(),
        "shl" | "shr" => inst.shift(),
        "shf" => inst.funnel_shift(),
        "lop3" => inst.lop3(),
        "popc" | "clz" | "bfind" | "brev" => inst.count_bits(),
        "bfe" => inst.bfe(),
        "bfi" => inst.bfi(),
        "bmsk" | "szext" => inst.bit_mask(),
        "fns" => inst.find_nth_set(),
        "prmt" => inst.permute(),
        "dp4a" | "dp2a" => inst.dot_product(),
        "setp" => inst.setp(),
        "set" => inst.set(),
        "selp" => inst.selp(),
        "slct" => inst.slct(),
        "testp" => inst.testp(),
        _ => decode_transfer(inst),
    }
}

/// What moves data, synchronises and branches.
fn decode_transfer(inst: &mut Inst) -> Result<(), PtxError> {
    match inst.ins.opcode {
        "mov" => inst.mov(),
        "cvt" => inst.cvt(),
        "cvta" => inst.cvta(),
        "isspacep" => inst.isspacep(),
        "mapa" => inst.mapa(),
        "getctarank" => inst.getctarank(),
        "ld" => inst.load(),
        "st" => inst.store(),
        "atom" | "red" => inst.atomic(),
        "fence" | "membar" => inst.fence(),
        "prefetch" | "prefetchu" | "applypriority" | "discard" => inst.cache_control(),
        "createpolicy" => inst.create_policy(),
        "cp" => inst.cp(),
        "mbarrier" => inst.mbarrier(),
        "shfl" => inst.shfl(),
        "vote" => inst.vote(),
        "match" => inst.match_lanes(),
        "redux" => inst.redux(),
        "elect" => inst.elect(),
        "activemask" => inst.active_mask(),
        "bar" | "barrier" => inst.barrier(),
        "ldmatrix" => inst.ldmatrix(),
        "movmatrix" => inst.movmatrix(),
        "stmatrix" => inst.stmatrix(),
        "mma" => inst.mma(),
        "wgmma" => inst.wgmma(),
        "setmaxnreg" => inst.set_max_registers(),
        "bra" => inst.bra(),
        "brx" => inst.brx(),
        "call" => inst.call(),
        "ret" => inst.ret(),
        "exit" => plain(inst, Op::Exit),
        "trap" => plain(inst, Op::Trap),
        // A breakpoint without a debugger.
        "brkpt" => plain(inst, Op::Nop),
        "nanosleep" => nanosleep(inst),
        "griddepcontrol" => grid_dependency(inst),
        _ => Err(inst.unsupported("no such instruction is known here; express it by others")),
    }
}

fn plain(inst: &mut Inst, op: Op) -> Result<(), PtxError> {
    inst.arity(0..=0)?;
    inst.emit(op)
}

/// `griddepcontrol.{wait, launch_dependents}`: a launch here has no grid before it that it may overtake, and none
/// behind it that may start early, so that both do nothing.
fn grid_dependency(inst: &mut Inst) -> Result<(), PtxError> {
    inst.require(&[("wait", ()), ("launch_dependents", ())])?;
    plain(inst, Op::Nop)
}

/// `nanosleep.u32 t` may sleep any time from 0 to 2t: it only lets others run.
fn nanosleep(inst: &mut Inst) -> Result<(), PtxError> {
    inst.arity(1..=1)?;
    let ty = super::types::Ty::U32;
    inst.only_type(ty)?;
    inst.r32(0, ty)?;
    inst.emit(Op::Yield)
}
