//! Bulk and tensor copies (PTX ISA, "cp.async.bulk", "cp.reduce.async.bulk", "cp.async.bulk.tensor").

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{
    AtomicOp, AtomicType, BulkCopy, BulkEnd, BulkReduction, Op, R32, SharedOperand, Space,
    TensorPlace,
};
use crate::syntax::Operand;

/// A state space in the name of a bulk copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Global,
    Shared(Space),
}

const SIDES: &[(&str, Side)] = &[
    ("global", Side::Global),
    ("shared::cta", Side::Shared(Space::Shared)),
    ("shared::cluster", Side::Shared(Space::SharedCluster)),
];

const RANKS: &[(&str, u8)] = &[("1d", 1), ("2d", 2), ("3d", 3), ("4d", 4), ("5d", 5)];

impl Inst<'_, '_, '_> {
    /// `cp.async.bulk` and `cp.reduce.async.bulk`, behind `.bulk`
    pub fn bulk(&mut self, reduces: bool) -> Result<(), PtxError> {
        if self.take("commit_group") {
            self.arity(0..=0)?;
            return self.emit(Op::BulkCommit);
        }
        if self.take("wait_group") {
            let read = self.take("read");
            self.arity(1..=1)?;
            let pending = u32::try_from(self.constant(0)?)
                .map_err(|_| self.bad("the number of pending groups is a 32-bit constant"))?;
            return self.emit(Op::BulkWait { pending, read });
        }
        if self.take("prefetch") {
            return self.bulk_prefetch();
        }
        let rank = self.tensor_rank()?;
        let to = self.require(SIDES)?;
        let from = self.require(SIDES)?;
        let by_mbarrier = self.require(&[
            ("mbarrier::complete_tx::bytes", true),
            ("bulk_group", false),
        ])?;
        let is_multicast = self.take("multicast::cluster");
        let has_policy = self.take("L2::cache_hint");
        let reduction = match reduces {
            true => Some(self.bulk_reduction(rank.is_some())?),
            false => None,
        };
        self.finish()?;
        self.check_route((to, from), by_mbarrier, is_multicast, reduction)?;
        if has_policy && to != Side::Global && from != Side::Global {
            return Err(self.bad("a cache policy is for copies from or to .global"));
        }
        self.check_reduction(to, reduction)?;
        self.bulk_operands(BulkForm {
            to,
            from,
            rank,
            by_mbarrier,
            is_multicast,
            has_policy,
            reduction,
        })
    }

    /// Takes `.tensor.Nd` and `.tile`.
    fn tensor_rank(&mut self) -> Result<Option<u8>, PtxError> {
        if !self.take("tensor") {
            return Ok(None);
        }
        let rank = self.require(RANKS)?;
        let modes = [
            "im2col",
            "im2col_no_offs",
            "tile::gather4",
            "tile::scatter4",
        ];
        if modes.iter().any(|mode| self.ins.qualifiers.contains(mode)) {
            return Err(self.unsupported("of the modes, .tile is known here"));
        }
        self.take("tile");
        Ok(Some(rank))
    }

    /// The ways that copies can take, and how each tells that it is complete.
    fn check_route(
        &self,
        (to, from): (Side, Side),
        by_mbarrier: bool,
        is_multicast: bool,
        reduction: Option<BulkReduction>,
    ) -> Result<(), PtxError> {
        let block = Side::Shared(Space::Shared);
        let cluster = Side::Shared(Space::SharedCluster);
        let is_load = from == Side::Global && matches!(to, Side::Shared(_)) && reduction.is_none();
        let is_tensor = self.ins.qualifiers.contains(&"tensor");
        let fits = match by_mbarrier {
            true => is_load || (to, from) == (cluster, block) && !is_tensor,
            false => (to, from) == (Side::Global, block),
        };
        if !fits || is_multicast && !(is_load && to == cluster) {
            return Err(self.bad("there is no such way between these state spaces"));
        }
        if is_load && to == block && self.unit.tree.version < (8, 6) {
            let way_out = ".shared::cta as a destination needs .version 8.6; use .shared::cluster";
            return Err(self.unsupported(way_out));
        }
        Ok(())
    }

    /// Takes operation and type of a reduction.
    fn bulk_reduction(&mut self, is_tensor: bool) -> Result<BulkReduction, PtxError> {
        let op = self.require(&[
            ("add", AtomicOp::Add),
            ("min", AtomicOp::Min),
            ("max", AtomicOp::Max),
            ("inc", AtomicOp::Inc),
            ("dec", AtomicOp::Dec),
            ("and", AtomicOp::And),
            ("or", AtomicOp::Or),
            ("xor", AtomicOp::Xor),
        ])?;
        if is_tensor {
            return Ok(BulkReduction { op, ty: None });
        }
        let noftz = self.take("noftz");
        let ty = self.ty()?;
        if matches!(ty, Ty::F16x2 | Ty::Bf16x2) {
            return Err(self.bad("a bulk reduction names the type of one element"));
        }
        let is_half = matches!(ty, Ty::F16 | Ty::Bf16);
        if is_half && op != AtomicOp::Add {
            return Err(self.unsupported("of the reductions of 16-bit floats, .add is known here"));
        }
        let ty = match ty {
            Ty::S64 if op == AtomicOp::Add => {
                return Err(self.bad("64-bit integers are added as .u64"));
            }
            ty => Some(self.atomic_type(op, ty, noftz)?),
        };
        Ok(BulkReduction { op, ty })
    }

    /// Shared memory knows fewer reductions than device memory: those of 32-bit integers, and 64-bit addition.
    fn check_reduction(&self, to: Side, reduction: Option<BulkReduction>) -> Result<(), PtxError> {
        let Some(BulkReduction { op, ty: Some(ty) }) = reduction else {
            return Ok(());
        };
        let is_known = match ty {
            AtomicType::U32 | AtomicType::S32 => true,
            AtomicType::U64 => op == AtomicOp::Add,
            _ => false,
        };
        if to != Side::Global && !is_known {
            let rule = "shared memory has bulk reductions of 32-bit integers, and .add.u64";
            return Err(self.bad(rule));
        }
        Ok(())
    }

    /// `[to], [from], size, [mbarrier], mask, policy`, as far as the form has them.
    fn bulk_operands(&mut self, form: BulkForm) -> Result<(), PtxError> {
        let count = 2
            + usize::from(form.rank.is_none())
            + usize::from(form.by_mbarrier)
            + usize::from(form.is_multicast)
            + usize::from(form.has_policy);
        self.arity(count..=count)?;
        let to = self.bulk_end(0, form.to, form.rank)?;
        let from = self.bulk_end(1, form.from, form.rank)?;
        let mut next = 2..count;
        let mut operand = |wanted: bool| if wanted { next.next() } else { None };
        let (bytes, mbarrier, mask, policy) = (
            operand(form.rank.is_none()),
            operand(form.by_mbarrier),
            operand(form.is_multicast),
            operand(form.has_policy),
        );
        let window = match form.to {
            Side::Shared(window) => window,
            Side::Global => Space::Shared,
        };
        let bytes = bytes.map(|i| self.r32(i, Ty::U32)).transpose()?;
        let mbarrier: Option<SharedOperand> =
            mbarrier.map(|i| self.shared_place(i, window)).transpose()?;
        let multicast = mask.map(|i| self.r32(i, Ty::U16)).transpose()?;
        if let Some(i) = policy {
            self.r64(i, Ty::B64)?;
        }
        self.emit(Op::BulkCopy(Box::new(BulkCopy {
            to,
            from,
            bytes,
            mbarrier,
            multicast,
            reduction: form.reduction,
        })))
    }

    fn bulk_end(&mut self, i: usize, side: Side, rank: Option<u8>) -> Result<BulkEnd, PtxError> {
        Ok(match (side, rank) {
            (Side::Shared(window), _) => BulkEnd::Shared(self.shared_place(i, window)?),
            (Side::Global, None) => BulkEnd::Global(self.address(i, Space::Global)?.1),
            (Side::Global, Some(rank)) => BulkEnd::Tensor(self.tensor_place(i, rank)?),
        })
    }

    /// `[map, {c0, ..}]`
    fn tensor_place(&mut self, i: usize, rank: u8) -> Result<TensorPlace, PtxError> {
        let &Operand::Address {
            base,
            offset,
            ref coordinates,
        } = self.operand(i)?
        else {
            return Err(self.bad(format!("operand {} must be a tensor address", i + 1)));
        };
        if coordinates.len() != usize::from(rank) {
            return Err(self.bad(format!("{rank} coordinates follow the tensor map")));
        }
        let (_, map) = self.address_of(base, offset, Space::Generic)?;
        let mut start = [R32(0); 5];
        for (slot, coordinate) in start.iter_mut().zip(coordinates) {
            *slot = R32(self.source(coordinate, Ty::S32)?);
        }
        Ok(TensorPlace { map, rank, start })
    }

    /// `cp.async.bulk.prefetch`: a hint; the operands are checked for their form and not used.
    fn bulk_prefetch(&mut self) -> Result<(), PtxError> {
        let rank = self.tensor_rank()?;
        self.require(&[("L2", ())])?;
        self.require(&[("global", ())])?;
        let has_policy = self.take("L2::cache_hint");
        self.finish()?;
        let count = 1 + usize::from(rank.is_none()) + usize::from(has_policy);
        self.arity(count..=count)?;
        self.bulk_end(0, Side::Global, rank)?;
        if rank.is_none() {
            self.r32(1, Ty::U32)?;
        }
        if has_policy {
            self.r64(count - 1, Ty::B64)?;
        }
        self.emit(Op::Nop)
    }
}

/// What the qualifiers of a bulk copy say.
struct BulkForm {
    to: Side,
    from: Side,
    rank: Option<u8>,
    by_mbarrier: bool,
    is_multicast: bool,
    has_policy: bool,
    reduction: Option<BulkReduction>,
}
