//! Which registers an operation reads and writes.

use super::builder::File;
use crate::ir::{
    Address, AddressBase, AtomicType, BulkCopy, BulkEnd, Carry, CpAsync, CpAsyncSource, LaneOp,
    MbarrierAction, MbarrierOp, MbarrierPhase, MbarrierWait, Mma, Number, Op, Pred, R32, R64,
    Wgmma, WgmmaA, Width,
};

/// What happens to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its value is used.
    Read,
    /// It gets a new value.
    Write,
    /// Its value is used, and it gets a new one.
    Update,
}

/// A field of an operation that holds one register or none.
trait Registers {
    fn slot(&mut self) -> Option<(File, &mut u16)>;
}

impl Registers for R32 {
    fn slot(&mut self) -> Option<(File, &mut u16)> {
        Some((File::R32, &mut self.0))
    }
}

impl Registers for R64 {
    fn slot(&mut self) -> Option<(File, &mut u16)> {
        Some((File::R64, &mut self.0))
    }
}

impl Registers for Pred {
    fn slot(&mut self) -> Option<(File, &mut u16)> {
        Some((File::Pred, &mut self.0))
    }
}

impl<R: Registers> Registers for Option<R> {
    fn slot(&mut self) -> Option<(File, &mut u16)> {
        self.as_mut()?.slot()
    }
}

impl Registers for Address {
    fn slot(&mut self) -> Option<(File, &mut u16)> {
        match &mut self.base {
            AddressBase::R32(base) => base.slot(),
            AddressBase::R64(base) => base.slot(),
        }
    }
}

fn width_file(width: Width) -> File {
    if width == Width::W64 {
        File::R64
    } else {
        File::R32
    }
}

fn number_file(number: Number) -> File {
    match number {
        Number::U64 | Number::S64 | Number::F64 => File::R64,
        _ => File::R32,
    }
}

fn atomic_file(ty: AtomicType) -> File {
    match ty {
        AtomicType::U64 | AtomicType::S64 | AtomicType::F64 => File::R64,
        _ => File::R32,
    }
}

/// Makes a function that calls `visit` once for every register of an operation, from a table with a line per variant:
/// reads before the arrow, writes after it. Variants that need code of their own stand before the table.
macro_rules! access_table {
    (
        $(#[$doc:meta])*
        $shared:vis fn $function:ident($op:ident: $set:ident, $visit:ident) { $($own:tt)* }
        $($name:ident: $($read:ident)* => $($write:ident)*;)*
    ) => {
        $(#[$doc])*
        $shared fn $function($op: &mut $set, $visit: &mut impl FnMut(Access, File, &mut u16)) {
            match $op {
                $($own)*
                $($set::$name { $($read,)* $($write,)* .. } => {
                    $(one(Access::Read, $read, $visit);)*
                    $(one(Access::Write, $write, $visit);)*
                })*
            }
        }
    };
}

access_table! {
    /// Calls `visit` once for every register of `op`; all reads come before all updates and writes.
    pub(crate) fn registers(op: Op, visit) {
        Op::Lane(op) => lane_registers(op, visit),
        Op::Load { ty, vector, d, address, .. } => {
            one(Access::Read, address, visit);
            let (file, count) = (width_file(ty.register), usize::from(*vector));
            d[..count].iter_mut().for_each(|d| visit(Access::Write, file, d));
        }
        Op::Store { ty, vector, a, address, .. } => {
            one(Access::Read, address, visit);
            let (file, count) = (width_file(ty.register), usize::from(*vector));
            a[..count].iter_mut().for_each(|a| visit(Access::Read, file, a));
        }
        Op::Atom { ty, d, b, c, address, .. } => {
            one(Access::Read, address, visit);
            visit(Access::Read, atomic_file(*ty), b);
            visit(Access::Read, atomic_file(*ty), c);
            visit(Access::Write, atomic_file(*ty), d);
        }
        Op::Red { ty, b, address, .. } => {
            one(Access::Read, address, visit);
            visit(Access::Read, atomic_file(*ty), b);
        }
        Op::AtomicVector(atomic) => {
            one(Access::Read, &mut atomic.address, visit);
            atomic.b.iter_mut().for_each(|b| one(Access::Read, b, visit));
            atomic.d.iter_mut().for_each(|d| one(Access::Write, d, visit));
        }
        Op::CpAsync(copy) => copy_registers(copy, visit),
        Op::Mbarrier(barrier) => mbarrier_registers(barrier, visit),
        Op::MbarrierWait(wait) => wait_registers(wait, visit),
        Op::BulkCopy(copy) => bulk_registers(copy, visit),
        Op::LdMatrix { count, d, address, .. } => {
            one(Access::Read, address, visit);
            d[..usize::from(*count)].iter_mut().for_each(|d| one(Access::Write, d, visit));
        }
        Op::StMatrix { count, a, address, .. } => {
            one(Access::Read, address, visit);
            a[..usize::from(*count)].iter_mut().for_each(|a| one(Access::Read, a, visit));
        }
        Op::Mma(mma) => mma_registers(mma, visit),
        Op::Wgmma(wgmma) => wgmma_registers(wgmma, visit),
    }
    Cvta: a => d;
    MapAddress32: a rank => d;
    MapAddress64: a rank => d;
    RankOfAddress: a => d;
    IsSpace: a => d;
    Clock32: => d;
    Clock64: => d;
    Fence: =>;
    CpAsyncCommit: =>;
    CpAsyncWait: =>;
    CpAsyncWaitAll: =>;
    MbarrierPending: a => d;
    MbarrierInitFence: =>;
    BulkCommit: =>;
    BulkWait: =>;
    ProxyFence: =>;
    Shfl: a b c mask => d p;
    Vote: a mask => d;
    Ballot: a mask => d;
    MatchAny32: a mask => d;
    MatchAny64: a mask => d;
    MatchAll32: a mask => d p;
    MatchAll64: a mask => d p;
    Redux: a mask => d;
    Elect: mask => d p;
    ActiveMask: => d;
    WarpSync: mask =>;
    Barrier: id count =>;
    BarrierPopc: a id count => d;
    BarrierLogic: a id count => d;
    ClusterArrive: =>;
    ClusterWait: =>;
    MovMatrix: a => d;
    WgmmaFence: =>;
    WgmmaCommit: =>;
    WgmmaWait: =>;
    SetMaxRegisters: =>;
    BranchIndexed: index =>;
    Bra: =>;
    Exit: =>;
    Trap: =>;
    Yield: =>;
    Nop: =>;
}

access_table! {
    fn lane_registers(op: LaneOp, visit) {
        LaneOp::Carry32(carry) => carry_registers(carry, visit),
        LaneOp::Carry64(carry) => carry_registers(carry, visit),
        LaneOp::Convert { to, from, d, a, .. } => {
            visit(Access::Read, number_file(*from), a);
            visit(Access::Write, number_file(*to), d);
        }
    }
    Binary16: a b => d;
    Binary32: a b => d;
    Binary64: a b => d;
    Shift64: a b => d;
    Unary16: a => d;
    Unary32: a => d;
    Unary64: a => d;
    Count64: a => d;
    Ternary16: a b c => d;
    Ternary32: a b c => d;
    Ternary64: a b c => d;
    MulWide16: a b => d;
    MulWide32: a b => d;
    MadWide16: a b c => d;
    MadWide32: a b c => d;
    Lop3: a b c => d;
    Bfi32: a b pos len => d;
    Bfi64: a b pos len => d;
    Bfe64: a pos len => d;
    Prmt: a b c => d;
    Setp16: a b => d;
    Setp32: a b => d;
    Setp64: a b => d;
    SetpF32: a b => d;
    SetpF64: a b => d;
    SetpHalf: a b => d;
    TestF32: a => d;
    TestF64: a => d;
    Select32: a b p => d;
    Select64: a b p => d;
    PredLogic: a b => d;
    BinaryF32: a b => d;
    UnaryF32: a => d;
    FmaF32: a b c => d;
    BinaryF64: a b => d;
    UnaryF64: a => d;
    FmaF64: a b c => d;
    BinaryHalf: a b => d;
    UnaryHalf: a => d;
    FmaHalf: a b c => d;
    Mov32: a => d;
    Mov64: a => d;
    Pack64: lo hi => d;
    Unpack64: a => lo hi;
    Pack16x2: lo hi => d;
    Unpack16x2: a => lo hi;
    Resize: a => d;
    Widen: a => d;
    Narrow: a => d;
    ConvertPair: hi lo => d;
}

fn carry_registers<R: Registers>(
    carry: &mut Carry<R>,
    visit: &mut impl FnMut(Access, File, &mut u16),
) {
    one(Access::Read, &mut carry.a, visit);
    one(Access::Read, &mut carry.b, visit);
    one(Access::Read, &mut carry.carry_in, visit);
    one(Access::Write, &mut carry.d, visit);
    one(Access::Write, &mut carry.carry_out, visit);
}

fn copy_registers(copy: &mut CpAsync, visit: &mut impl FnMut(Access, File, &mut u16)) {
    one(Access::Read, &mut copy.dst, visit);
    one(Access::Read, &mut copy.src, visit);
    match &mut copy.source {
        CpAsyncSource::Full => {}
        CpAsyncSource::Bytes(bytes) => one(Access::Read, bytes, visit),
        CpAsyncSource::IgnoreIf(guard) => one(Access::Read, &mut guard.pred, visit),
    }
}

fn mbarrier_registers(barrier: &mut MbarrierOp, visit: &mut impl FnMut(Access, File, &mut u16)) {
    one(Access::Read, &mut barrier.place.address, visit);
    match &mut barrier.action {
        MbarrierAction::Init { count } => one(Access::Read, count, visit),
        MbarrierAction::Expect { bytes } | MbarrierAction::Complete { bytes } => {
            one(Access::Read, bytes, visit);
        }
        MbarrierAction::Arrive {
            state,
            count,
            expect,
            ..
        } => {
            one(Access::Read, count, visit);
            one(Access::Read, expect, visit);
            one(Access::Write, state, visit);
        }
        MbarrierAction::Invalidate | MbarrierAction::AfterCopies { .. } => {}
    }
}

fn wait_registers(wait: &mut MbarrierWait, visit: &mut impl FnMut(Access, File, &mut u16)) {
    one(Access::Read, &mut wait.place.address, visit);
    match &mut wait.phase {
        MbarrierPhase::State(state) => one(Access::Read, state, visit),
        MbarrierPhase::Parity(parity) => one(Access::Read, parity, visit),
    }
    one(Access::Write, &mut wait.d, visit);
}

fn bulk_registers(copy: &mut BulkCopy, visit: &mut impl FnMut(Access, File, &mut u16)) {
    for end in [&mut copy.to, &mut copy.from] {
        match end {
            BulkEnd::Global(address) => one(Access::Read, address, visit),
            BulkEnd::Shared(place) => one(Access::Read, &mut place.address, visit),
            BulkEnd::Tensor(tensor) => {
                one(Access::Read, &mut tensor.map, visit);
                let coordinates = &mut tensor.start[..usize::from(tensor.rank)];
                coordinates
                    .iter_mut()
                    .for_each(|slot| one(Access::Read, slot, visit));
            }
        }
    }
    one(Access::Read, &mut copy.bytes, visit);
    if let Some(place) = &mut copy.mbarrier {
        one(Access::Read, &mut place.address, visit);
    }
    one(Access::Read, &mut copy.multicast, visit);
}

fn mma_registers(mma: &mut Mma, visit: &mut impl FnMut(Access, File, &mut u16)) {
    let inputs = usize::from(mma.k) / 4;
    let results = if mma.f32_accumulate { 4 } else { 2 };
    let (a, b, c) = (
        &mut mma.a[..inputs],
        &mut mma.b[..inputs / 2],
        &mut mma.c[..results],
    );
    for register in a.iter_mut().chain(b).chain(c) {
        one(Access::Read, register, visit);
    }
    mma.d[..results]
        .iter_mut()
        .for_each(|d| one(Access::Write, d, visit));
}

/// What must be known at the issue comes first.
fn wgmma_registers(wgmma: &mut Wgmma, visit: &mut impl FnMut(Access, File, &mut u16)) {
    one(Access::Read, &mut wgmma.b, visit);
    one(Access::Read, &mut wgmma.accumulate, visit);
    match &mut wgmma.a {
        WgmmaA::Shared(descriptor, _) => one(Access::Read, descriptor, visit),
        WgmmaA::Registers(a) => a.iter_mut().for_each(|a| one(Access::Read, a, visit)),
    }
    let access = match wgmma.accumulate {
        Some(_) => Access::Update,
        None => Access::Write,
    };
    wgmma.d.iter_mut().for_each(|d| one(access, d, visit));
}

fn one<R: Registers>(
    access: Access,
    registers: &mut R,
    visit: &mut impl FnMut(Access, File, &mut u16),
) {
    if let Some((file, slot)) = registers.slot() {
        visit(access, file, slot);
    }
}
