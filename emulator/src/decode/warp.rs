//! Warp-wide exchange and block-wide barriers (PTX ISA 9.7.9 `shfl`, 9.7.13).

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Op, Pred, R32, ReduxOp, ShflMode, VoteMode};
use crate::syntax::Operand;

impl Inst<'_, '_, '_> {
    /// The forms without `.sync` are gone since sm_70.
    fn sync(&mut self) -> Result<(), PtxError> {
        if self.take("sync") {
            return Ok(());
        }
        Err(self.bad("write the .sync form with a member mask; the old one ends at sm_60"))
    }

    /// `shfl.sync.mode.b32 d[|p], a, b, c, membermask`
    pub fn shfl(&mut self) -> Result<(), PtxError> {
        self.sync()?;
        self.arity(5..=5)?;
        let mode = self.require(&[
            ("up", ShflMode::Up),
            ("down", ShflMode::Down),
            ("bfly", ShflMode::Bfly),
            ("idx", ShflMode::Idx),
        ])?;
        self.only_type(Ty::B32)?;
        let (first, second) = self.pair(0)?;
        if *first == Operand::Sink {
            return Err(self.bad("the value that shfl gives cannot be `_`; name a register"));
        }
        let a = self.r32(1, Ty::B32)?;
        let (b, c, mask) = (
            self.r32(2, Ty::U32)?,
            self.r32(3, Ty::U32)?,
            self.r32(4, Ty::B32)?,
        );
        let (d, p) = (
            R32(self.destination(first, Ty::B32)?),
            Pred(self.destination(second, Ty::Pred)?),
        );
        self.emit(Op::Shfl {
            mode,
            d,
            p,
            a,
            b,
            c,
            mask,
        })
    }

    /// `vote.sync.{all,any,uni}.pred p, [!]a, membermask`, `vote.sync.ballot.b32 d, [!]a, membermask`
    pub fn vote(&mut self) -> Result<(), PtxError> {
        self.sync()?;
        self.arity(3..=3)?;
        let mode = self.require(&[
            ("all", Some(VoteMode::All)),
            ("any", Some(VoteMode::Any)),
            ("uni", Some(VoteMode::Uni)),
            ("ballot", None),
        ])?;
        self.only_type(if mode.is_some() { Ty::Pred } else { Ty::B32 })?;
        let (a, mask) = (self.pred(1)?, self.r32(2, Ty::U32)?);
        let op = match mode {
            Some(mode) => Op::Vote {
                mode,
                d: self.dpred(0)?,
                a,
                mask,
            },
            None => Op::Ballot {
                d: self.d32(0, Ty::B32)?,
                a,
                mask,
            },
        };
        self.emit(op)
    }

    /// `match.any.sync.type d, a, membermask`, `match.all.sync.type d[|p], a, membermask`
    pub fn match_lanes(&mut self) -> Result<(), PtxError> {
        self.sync()?;
        self.arity(3..=3)?;
        let all = self.require(&[("all", true), ("any", false)])?;
        let (first, second) = self.pair(0)?;
        if !all && (*first == Operand::Sink || matches!(self.operand(0)?, Operand::Pair(..))) {
            return Err(self.bad("match.any gives one value, in a register"));
        }
        let mask = self.r32(2, Ty::U32)?;
        let d = R32(self.destination(first, Ty::B32)?);
        let p = Pred(self.destination(second, Ty::Pred)?);
        let op = match (self.ty()?, all) {
            (ty @ Ty::B32, true) => Op::MatchAll32 {
                d,
                p,
                a: self.r32(1, ty)?,
                mask,
            },
            (ty @ Ty::B32, false) => Op::MatchAny32 {
                d,
                a: self.r32(1, ty)?,
                mask,
            },
            (ty @ Ty::B64, true) => Op::MatchAll64 {
                d,
                p,
                a: self.r64(1, ty)?,
                mask,
            },
            (ty @ Ty::B64, false) => Op::MatchAny64 {
                d,
                a: self.r64(1, ty)?,
                mask,
            },
            _ => return Err(self.bad("the type must be .b32 or .b64")),
        };
        self.emit(op)
    }

    /// `redux.sync.op.type d, a, membermask`
    pub fn redux(&mut self) -> Result<(), PtxError> {
        self.sync()?;
        self.arity(3..=3)?;
        let name = self.require(&[
            ("add", "add"),
            ("min", "min"),
            ("max", "max"),
            ("and", "and"),
            ("or", "or"),
            ("xor", "xor"),
        ])?;
        let ty = self.ty()?;
        let op = match (name, ty) {
            ("add", Ty::U32 | Ty::S32) => ReduxOp::Add,
            ("min", Ty::U32) => ReduxOp::MinU,
            ("min", Ty::S32) => ReduxOp::MinS,
            ("max", Ty::U32) => ReduxOp::MaxU,
            ("max", Ty::S32) => ReduxOp::MaxS,
            ("and", Ty::B32) => ReduxOp::And,
            ("or", Ty::B32) => ReduxOp::Or,
            ("xor", Ty::B32) => ReduxOp::Xor,
            _ => return Err(self.bad("this operation does not exist for this type")),
        };
        let (d, a, mask) = (self.d32(0, ty)?, self.r32(1, ty)?, self.r32(2, Ty::B32)?);
        self.emit(Op::Redux { op, d, a, mask })
    }

    /// `elect.sync d|p, membermask`
    pub fn elect(&mut self) -> Result<(), PtxError> {
        self.sync()?;
        self.arity(2..=2)?;
        let &Operand::Pair(first, second) = &self.operand(0)? else {
            return Err(self.bad("the destination is d|p, of which d may be `_`"));
        };
        let mask = self.r32(1, Ty::U32)?;
        let (d, p) = (
            R32(self.destination(first, Ty::B32)?),
            Pred(self.destination(second, Ty::Pred)?),
        );
        self.emit(Op::Elect { d, p, mask })
    }

    /// `activemask.b32 d`
    pub fn active_mask(&mut self) -> Result<(), PtxError> {
        self.arity(1..=1)?;
        self.only_type(Ty::B32)?;
        let d = self.d32(0, Ty::B32)?;
        self.emit(Op::ActiveMask { d })
    }

    /// `bar` (always aligned) and `barrier`
    pub fn barrier(&mut self) -> Result<(), PtxError> {
        if self.ins.opcode == "bar" && self.take("warp") {
            self.sync()?;
            self.arity(1..=1)?;
            let mask = self.r32(0, Ty::U32)?;
            return self.emit(Op::WarpSync { mask });
        }
        if self.take("cluster") {
            return self.cluster_barrier();
        }
        self.take("cta");
        let aligned = self.ins.opcode == "bar" || self.take("aligned");
        match self.require(&[("sync", 0), ("arrive", 1), ("red", 2)])? {
            0 => self.barrier_wait(aligned, false),
            1 => self.barrier_wait(aligned, true),
            _ => self.barrier_reduce(aligned),
        }
    }

    /// `barrier.cluster.arrive[.release | .relaxed][.aligned]`, `barrier.cluster.wait[.acquire][.aligned]`
    fn cluster_barrier(&mut self) -> Result<(), PtxError> {
        self.arity(0..=0)?;
        let arrives = self.require(&[("arrive", true), ("wait", false)])?;
        let aligned = self.take("aligned");
        let op = if arrives {
            let release = self.choose(&[("release", true), ("relaxed", false)]);
            let release = release.unwrap_or(true);
            Op::ClusterArrive { aligned, release }
        } else {
            self.take("acquire");
            Op::ClusterWait { aligned }
        };
        self.emit(op)
    }

    fn barrier_wait(&mut self, aligned: bool, arrive: bool) -> Result<(), PtxError> {
        let count = self.arity(1 + usize::from(arrive)..=2)?;
        let id = self.barrier_id(0)?;
        let count = if count > 1 {
            Some(self.thread_count(1)?)
        } else {
            None
        };
        self.emit(Op::Barrier {
            arrive,
            aligned,
            id,
            count,
        })
    }

    /// `bar.red.popc.u32 d, a[, b], [!]p`, `bar.red.{and,or}.pred q, a[, b], [!]p`
    fn barrier_reduce(&mut self, aligned: bool) -> Result<(), PtxError> {
        let operands = self.arity(3..=4)?;
        let or = self.require(&[("popc", None), ("and", Some(false)), ("or", Some(true))])?;
        self.only_type(if or.is_some() { Ty::Pred } else { Ty::U32 })?;
        let id = self.barrier_id(1)?;
        let count = if operands > 3 {
            Some(self.thread_count(2)?)
        } else {
            None
        };
        let a = self.pred(operands - 1)?;
        let op = match or {
            None => Op::BarrierPopc {
                aligned,
                d: self.d32(0, Ty::U32)?,
                a,
                id,
                count,
            },
            Some(or) => Op::BarrierLogic {
                or,
                aligned,
                d: self.dpred(0)?,
                a,
                id,
                count,
            },
        };
        self.emit(op)
    }

    fn barrier_id(&mut self, i: usize) -> Result<R32, PtxError> {
        if let Ok(id) = self.constant(i)
            && id > 15
        {
            return Err(self.bad(format!("barrier {id} does not exist; use 0 to 15")));
        }
        self.r32(i, Ty::U32)
    }

    fn thread_count(&mut self, i: usize) -> Result<R32, PtxError> {
        if let Ok(count) = self.constant(i)
            && (count == 0 || count % 32 != 0)
        {
            return Err(self.bad(format!("thread count {count} is not a multiple of 32")));
        }
        self.r32(i, Ty::U32)
    }
}
