//! Moves: `mov` with packing and unpacking, `cvta`, `isspacep` (PTX ISA 9.7.9).

use super::control_flow::copy;
use super::inst::Inst;
use super::operands::file_of;
use super::special::{self, Reading};
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Binary32, LaneOp, Op, R32, R64, SharedModel, Space};
use crate::syntax::Operand;

impl<'t, 'a> Inst<'_, 't, 'a> {
    /// `mov.type d, a`
    pub fn mov(&mut self) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let ty = self.ty()?;
        if ty.bytes() == 1 {
            return Err(self.bad("mov has no 8-bit types; use cvt"));
        }
        if ty.is_float() && !matches!(ty, Ty::F32 | Ty::F64) {
            return Err(self.bad("mov has no 16-bit floats; use .b16 or .b32"));
        }
        let (d, a) = (self.operand(0)?, self.operand(1)?);
        let has_vector = matches!(d, Operand::Vector(_)) || matches!(a, Operand::Vector(_));
        if has_vector && !matches!(ty, Ty::B32 | Ty::B64) {
            return Err(self.bad("registers are packed and unpacked as .b32 or .b64"));
        }
        match (d, a) {
            (Operand::Vector(elements), _) => self.unpack(ty, elements),
            (_, Operand::Vector(elements)) => self.pack(ty, elements),
            (
                _,
                &Operand::Name {
                    name,
                    component: None,
                },
            ) if special::reading(name).is_some() => self.read_clock(ty, name),
            (d, a) => {
                let (d, a) = (self.destination(d, ty)?, self.source_or_address(a, ty)?);
                self.emit(copy(file_of(ty.bytes()), d, a))
            }
        }
    }

    fn read_clock(&mut self, ty: Ty, name: &str) -> Result<(), PtxError> {
        let op = match (special::reading(name), ty.bytes()) {
            _ if ty.is_float() => return Err(self.bad(format!("{name} is an integer"))),
            (Some(Reading::Clock32), 4) => Op::Clock32 {
                d: self.d32(0, ty)?,
            },
            (Some(Reading::Clock64), 8) => Op::Clock64 {
                d: self.d64(0, ty)?,
            },
            _ => return Err(self.bad(format!("{name} has another size"))),
        };
        self.emit(op)
    }

    /// `mov d, {low, .., high}`
    fn pack(&mut self, ty: Ty, elements: &'t [Operand<'a>]) -> Result<(), PtxError> {
        let op = match (ty.bytes(), elements) {
            (4, [lo, hi]) => {
                let (lo, hi) = (
                    R32(self.source(lo, Ty::B16)?),
                    R32(self.source(hi, Ty::B16)?),
                );
                LaneOp::Pack16x2 {
                    d: self.d32(0, ty)?,
                    lo,
                    hi,
                }
            }
            (8, [lo, hi]) => {
                let (lo, hi) = (
                    R32(self.source(lo, Ty::B32)?),
                    R32(self.source(hi, Ty::B32)?),
                );
                LaneOp::Pack64 {
                    d: self.d64(0, ty)?,
                    lo,
                    hi,
                }
            }
            (8, [_, _, _, _]) => {
                let mut words = [R32(0); 2];
                for (word, pair) in words.iter_mut().zip(elements.chunks_exact(2)) {
                    *word = self.builder().fresh32()?;
                    let lo = R32(self.source(&pair[0], Ty::B16)?);
                    let hi = R32(self.source(&pair[1], Ty::B16)?);
                    self.builder()
                        .emit_unguarded(LaneOp::Pack16x2 { d: *word, lo, hi })?;
                }
                LaneOp::Pack64 {
                    d: self.d64(0, ty)?,
                    lo: words[0],
                    hi: words[1],
                }
            }
            _ => {
                return Err(
                    self.unsupported("pack 16-bit registers into 32 or 64 bits, or 32 into 64")
                );
            }
        };
        self.emit(op)
    }

    /// `mov {low, .., high}, a`
    fn unpack(&mut self, ty: Ty, elements: &'t [Operand<'a>]) -> Result<(), PtxError> {
        let op = match (ty.bytes(), elements) {
            (4, [lo, hi]) => {
                let a = self.r32(1, ty)?;
                let (lo, hi) = (
                    self.destination(lo, Ty::B16)?,
                    self.destination(hi, Ty::B16)?,
                );
                LaneOp::Unpack16x2 {
                    lo: R32(lo),
                    hi: R32(hi),
                    a,
                }
            }
            (8, [lo, hi]) => {
                let a = self.r64(1, ty)?;
                let (lo, hi) = (
                    self.destination(lo, Ty::B32)?,
                    self.destination(hi, Ty::B32)?,
                );
                LaneOp::Unpack64 {
                    lo: R32(lo),
                    hi: R32(hi),
                    a,
                }
            }
            (8, [_, _, _, _]) => {
                let (lo, hi) = (self.builder().fresh32()?, self.builder().fresh32()?);
                let a = self.r64(1, ty)?;
                self.builder()
                    .emit_unguarded(LaneOp::Unpack64 { lo, hi, a })?;
                for (a, pair) in [lo, hi].into_iter().zip(elements.chunks_exact(2)) {
                    let lo = R32(self.destination(&pair[0], Ty::B16)?);
                    let hi = R32(self.destination(&pair[1], Ty::B16)?);
                    self.emit(LaneOp::Unpack16x2 { lo, hi, a })?;
                }
                return Ok(());
            }
            _ => {
                return Err(
                    self.unsupported("unpack 32 bits into 16-bit registers, or 64 into 16 or 32")
                );
            }
        };
        self.emit(op)
    }

    /// Takes the state space, if one is named.
    pub fn space(&mut self) -> Option<Space> {
        self.choose(&[
            ("global", Space::Global),
            ("shared", Space::Shared),
            ("shared::cta", Space::Shared),
            ("shared::cluster", Space::SharedCluster),
            ("local", Space::Local),
            ("const", Space::Const),
            ("param", Space::Param),
            ("param::entry", Space::Param),
            ("param::func", Space::Param),
        ])
    }

    /// Takes the state space of an address, which must be named.
    fn required_space(&mut self) -> Result<Space, PtxError> {
        if self.ins.qualifiers.contains(&"param::func") {
            let rule = "parameters of calls have no address of their own; name .param::entry";
            return Err(self.bad(rule));
        }
        self.space().ok_or_else(|| match self.finish() {
            Err(unknown) => unknown,
            Ok(()) => self.bad("a state space is missing"),
        })
    }

    /// `cvta[.to].space.u64 d, a`. A global address is its own generic address.
    pub fn cvta(&mut self) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let to_space = self.take("to");
        let space = self.required_space()?;
        self.only_type(Ty::U64)?;
        let operand = self.operand(1)?;
        let a = match to_space {
            true => self.source(operand, Ty::U64)?,
            false => {
                self.check_lies_in(operand, space)?;
                self.source_or_address(operand, Ty::U64)?
            }
        };
        let (d, a) = (self.d64(0, Ty::U64)?, R64(a));
        self.emit(match space {
            Space::Global => LaneOp::Mov64 { d, a }.into(),
            _ => Op::Cvta {
                space,
                to_space,
                d,
                a,
            },
        })
    }

    /// `isspacep.space p, a`
    pub fn isspacep(&mut self) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let space = self.required_space()?;
        let d = self.dpred(0)?;
        let a = R64(self.source(self.operand(1)?, Ty::U64)?);
        self.emit(Op::IsSpace { space, d, a })
    }

    /// Takes the space of `mapa` and `getctarank`: shared::cluster or generic.
    fn cluster_space(&mut self) -> Space {
        let is_named = self.take("shared::cluster");
        if is_named {
            Space::SharedCluster
        } else {
            Space::Generic
        }
    }

    /// `mapa[.shared::cluster].{u32, u64} d, a, rank`; generic addresses have 64 bits.
    pub fn mapa(&mut self) -> Result<(), PtxError> {
        self.arity(3..=3)?;
        let space = self.cluster_space();
        let ty = self.require(&[("u32", Ty::U32), ("u64", Ty::U64)])?;
        self.finish()?;
        let rank = self.r32(2, Ty::U32)?;
        let op = match (ty, space) {
            (Ty::U32, Space::Generic) => {
                return Err(self.bad("a generic address has 64 bits; name .shared::cluster"));
            }
            (Ty::U32, _) => Op::MapAddress32 {
                d: self.d32(0, ty)?,
                a: R32(self.source_or_address(self.operand(1)?, ty)?),
                rank,
            },
            _ => Op::MapAddress64 {
                space,
                d: self.d64(0, ty)?,
                a: R64(self.source_or_address(self.operand(1)?, ty)?),
                rank,
            },
        };
        self.emit(op)
    }

    /// `getctarank[.shared::cluster].{u32, u64} d, a`: the type is that of the address.
    pub fn getctarank(&mut self) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let space = self.cluster_space();
        let ty = self.require(&[("u32", Ty::U32), ("u64", Ty::U64)])?;
        self.finish()?;
        let d = self.d32(0, Ty::U32)?;
        let a = self.source_or_address(self.operand(1)?, ty)?;
        if ty == Ty::U64 {
            let a = R64(a);
            return self.emit(Op::RankOfAddress { space, d, a });
        }
        if space == Space::Generic {
            return Err(self.bad("a generic address has 64 bits; name .shared::cluster"));
        }
        let (a, b) = (R32(a), self.builder().const32(SharedModel::RANK_SHIFT)?);
        let op = Binary32::ShrU;
        self.emit(LaneOp::Binary32 { op, d, a, b })
    }
}
