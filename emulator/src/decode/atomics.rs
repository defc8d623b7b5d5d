//! Atomics (PTX ISA, "atom", "red").

use super::hints::Hints;
use super::inst::Inst;
use super::memory::Ordering;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{AtomicOp, AtomicType, AtomicVector, Op, R32, Space};

impl Inst<'_, '_, '_> {
    /// `atom` and `red`, by the opcode
    pub fn atomic(&mut self) -> Result<(), PtxError> {
        let returns = self.ins.opcode == "atom";
        if self.take("async") {
            return Err(self.unsupported("use red on the block's own shared memory"));
        }
        let ordering = self.ordering(true)?;
        if !returns && ordering.acquires() {
            return Err(self.bad("red returns nothing and so acquires nothing; use atom"));
        }
        let space = self.space().unwrap_or(Space::Generic);
        let has_atomics = matches!(
            space,
            Space::Global | Space::Shared | Space::SharedCluster | Space::Generic
        );
        if !has_atomics {
            return Err(self.bad("atomics work on .global and .shared"));
        }
        let hints = Hints {
            policy: self.take("L2::cache_hint"),
            ..Hints::default()
        };
        self.check_hints(hints, space)?;
        let count = self.choose(&[("v2", 2), ("v4", 4), ("v8", 8)]);
        let (op, word, ty) = self.atomic_operation()?;
        if let Some(count) = count {
            return self.atomic_vector((ordering, hints), (op, word, ty), (space, count));
        }
        self.atomic_scalar((ordering, hints), (op, word, ty), space)
    }

    fn atomic_scalar(
        &mut self,
        (ordering, hints): (Ordering, Hints),
        (op, word, ty): (AtomicOp, Ty, AtomicType),
        space: Space,
    ) -> Result<(), PtxError> {
        let returns = self.ins.opcode == "atom";
        if !returns && matches!(op, AtomicOp::Exch | AtomicOp::Cas) {
            return Err(self.bad("red has no .exch and no .cas"));
        }
        let (first, values) = (usize::from(returns), 1 + usize::from(op == AtomicOp::Cas));
        self.arity(first + 1 + values..=first + 2 + values)?;
        let (space, address) = self.address(first, space)?;
        let b = self.source(self.operand(first + 1)?, word)?;
        self.cache_policy(first + 1 + values, hints.policy)?;
        if !returns {
            return self.ordered(
                ordering,
                Op::Red {
                    op,
                    ty,
                    space,
                    scope: ordering.scope(),
                    b,
                    address,
                },
            );
        }
        let c = if values == 2 {
            self.source(self.operand(first + 2)?, word)?
        } else {
            b
        };
        let d = self.destination(self.operand(0)?, word)?;
        self.ordered(
            ordering,
            Op::Atom {
                op,
                ty,
                space,
                scope: ordering.scope(),
                d,
                b,
                c,
                address,
            },
        )
    }

    /// `atom.global.add.vec.type {d..}, [address], {b..}`, `red.global.add.vec.type [address], {b..}`
    fn atomic_vector(
        &mut self,
        (ordering, hints): (Ordering, Hints),
        (op, word, ty): (AtomicOp, Ty, AtomicType),
        (space, count): (Space, usize),
    ) -> Result<(), PtxError> {
        let most = match word {
            Ty::F32 | Ty::F16x2 | Ty::Bf16x2 => 4,
            Ty::F16 | Ty::Bf16 => 8,
            _ => return Err(self.bad("vectors of .f32, .f16, .bf16 and their pairs are atomic")),
        };
        if count > most {
            return Err(self.bad(format!("at most {most} elements of this type are atomic")));
        }
        if op != AtomicOp::Add {
            return Err(self.unsupported("of the operations on vectors, .add is known here"));
        }
        if space != Space::Global {
            return Err(self.bad("vectors are atomic in .global memory; name that space"));
        }
        let returns = usize::from(self.ins.opcode == "atom");
        self.arity(returns + 2..=returns + 3)?;
        let (_, address) = self.address(returns, space)?;
        let elements = self.vector(returns + 1)?;
        let mut b = Vec::with_capacity(count);
        for element in elements {
            b.push(R32(self.source(element, word)?));
        }
        let mut d = Vec::new();
        if returns == 1 {
            for element in self.vector(0)? {
                d.push(R32(self.destination(element, word)?));
            }
        }
        if b.len() != count || d.len() != count * returns {
            return Err(self.bad(format!("the vectors have {count} elements")));
        }
        self.cache_policy(returns + 2, hints.policy)?;
        let scope = ordering.scope();
        let atomic = AtomicVector {
            ty,
            scope,
            d,
            b,
            address,
        };
        self.ordered(ordering, Op::AtomicVector(Box::new(atomic)))
    }

    /// Takes operation and type: the last qualifiers.
    fn atomic_operation(&mut self) -> Result<(AtomicOp, Ty, AtomicType), PtxError> {
        let op = self.require(&[
            ("add", AtomicOp::Add),
            ("and", AtomicOp::And),
            ("or", AtomicOp::Or),
            ("xor", AtomicOp::Xor),
            ("exch", AtomicOp::Exch),
            ("cas", AtomicOp::Cas),
            ("inc", AtomicOp::Inc),
            ("dec", AtomicOp::Dec),
            ("min", AtomicOp::Min),
            ("max", AtomicOp::Max),
        ])?;
        let noftz = self.take("noftz");
        let word = self.ty()?;
        self.finish()?;
        Ok((op, word, self.atomic_type(op, word, noftz)?))
    }

    /// The combinations of operation and type that the ISA has.
    pub(super) fn atomic_type(
        &self,
        op: AtomicOp,
        ty: Ty,
        noftz: bool,
    ) -> Result<AtomicType, PtxError> {
        use AtomicOp::{Add, And, Cas, Dec, Exch, Inc, Max, Min, Or, Xor};
        let is_half = matches!(ty, Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2);
        if noftz != is_half {
            return Err(self.bad("16-bit floats need .noftz, and no other type has it"));
        }
        Ok(match (op, ty) {
            (And | Or | Xor | Exch | Cas, Ty::B32) => AtomicType::U32,
            (And | Or | Xor | Exch | Cas, Ty::B64) => AtomicType::U64,
            (Cas, Ty::B16) => AtomicType::U16,
            (Add | Inc | Dec | Min | Max, Ty::U32) => AtomicType::U32,
            (Add | Min | Max, Ty::S32) => AtomicType::S32,
            (Add | Min | Max, Ty::U64) => AtomicType::U64,
            (Min | Max, Ty::S64) => AtomicType::S64,
            (Add, Ty::F32) => AtomicType::F32,
            (Add, Ty::F64) => AtomicType::F64,
            (Add, Ty::F16) => AtomicType::F16,
            (Add, Ty::F16x2) => AtomicType::F16x2,
            (Add, Ty::Bf16) => AtomicType::Bf16,
            (Add, Ty::Bf16x2) => AtomicType::Bf16x2,
            _ => return Err(self.bad("this operation does not exist for this type")),
        })
    }
}
