//! Tensor cores (PTX ISA 9.7.14): `ldmatrix`, `stmatrix`, `movmatrix`, `mma.sync`.

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{HalfKind, Mma, Op, R32, Space};
use crate::syntax::Operand;

impl Inst<'_, '_, '_> {
    /// Takes `.sync.aligned`.
    pub(super) fn sync_aligned(&mut self) -> Result<(), PtxError> {
        self.require(&[("sync", ())])?;
        self.require(&[("aligned", ())])
    }

    /// `ldmatrix.sync.aligned.m8n8.{x1,x2,x4}[.trans][.shared].b16 {d..}, [address]`
    pub fn ldmatrix(&mut self) -> Result<(), PtxError> {
        self.sync_aligned()?;
        self.arity(2..=2)?;
        let (count, transpose, space) = self.matrices("loaded from")?;
        let elements = self.vector(0)?;
        let is_vector = matches!(self.operand(0)?, Operand::Vector(_));
        if !is_vector || elements.len() != usize::from(count) {
            return Err(self.bad(format!("{count} registers in braces are loaded")));
        }
        let mut d = [R32(0); 4];
        for (d, element) in d.iter_mut().zip(elements) {
            *d = R32(self.destination(element, Ty::B32)?);
        }
        let (space, address) = self.address(1, space)?;
        self.emit(Op::LdMatrix {
            count,
            transpose,
            space,
            d,
            address,
        })
    }

    /// `stmatrix.sync.aligned.m8n8.{x1,x2,x4}[.trans][.shared].b16 [address], {a..}`
    pub fn stmatrix(&mut self) -> Result<(), PtxError> {
        self.sync_aligned()?;
        self.arity(2..=2)?;
        let (count, transpose, space) = self.matrices("stored to")?;
        let elements = self.vector(1)?;
        let is_vector = matches!(self.operand(1)?, Operand::Vector(_));
        if !is_vector || elements.len() != usize::from(count) {
            return Err(self.bad(format!("{count} registers in braces are stored")));
        }
        let mut a = [R32(0); 4];
        for (a, element) in a.iter_mut().zip(elements) {
            *a = R32(self.source(element, Ty::B32)?);
        }
        let (space, address) = self.address(0, space)?;
        self.emit(Op::StMatrix {
            count,
            transpose,
            space,
            a,
            address,
        })
    }

    /// Takes `.m8n8.{x1,x2,x4}[.trans][.shared].b16`: count, transposition, space.
    fn matrices(&mut self, how: &str) -> Result<(u8, bool, Space), PtxError> {
        if self.choose(&[("m8n8", ())]).is_none() {
            return Err(self.unsupported("of the shapes .m8n8 is known here"));
        }
        let count = self.require(&[("x1", 1), ("x2", 2), ("x4", 4)])?;
        let transpose = self.take("trans");
        let space = match self.space() {
            None => Space::Generic,
            Some(Space::Shared) => Space::Shared,
            Some(_) => return Err(self.bad(format!("matrices are {how} shared memory"))),
        };
        self.only_type(Ty::B16)?;
        Ok((count, transpose, space))
    }

    /// `movmatrix.sync.aligned.m8n8.trans.b16 d, a`
    pub fn movmatrix(&mut self) -> Result<(), PtxError> {
        self.sync_aligned()?;
        self.arity(2..=2)?;
        self.require(&[("m8n8", ())])?;
        self.require(&[("trans", ())])?;
        self.only_type(Ty::B16)?;
        let (d, a) = (self.d32(0, Ty::B32)?, self.r32(1, Ty::B32)?);
        self.emit(Op::MovMatrix { d, a })
    }

    /// `mma.sync.aligned.m16n8k{8,16}.row.col.d.a.b.c {d..}, {a..}, {b..}, {c..}`
    pub fn mma(&mut self) -> Result<(), PtxError> {
        self.sync_aligned()?;
        self.arity(4..=4)?;
        let way_out = "m16n8k8 and m16n8k16 of .f16 and .bf16 are known here";
        let Some(k) = self.choose(&[("m16n8k8", 8), ("m16n8k16", 16)]) else {
            return Err(self.unsupported(way_out));
        };
        let layouts = &[("row", "row"), ("col", "col")];
        let layouts = (self.require(layouts)?, self.require(layouts)?);
        if layouts != ("row", "col") {
            return Err(self.bad("A is .row and B is .col, in this order"));
        }
        let types = [
            self.next_type(),
            self.next_type(),
            self.next_type(),
            self.next_type(),
        ];
        let (input, f32_accumulate) = match types.map(|ty| ty.unwrap_or(Ty::Pred)) {
            [Ty::F32, Ty::F16, Ty::F16, Ty::F32] => (HalfKind::F16x2, true),
            [Ty::F16, Ty::F16, Ty::F16, Ty::F16] => (HalfKind::F16x2, false),
            [Ty::F32, Ty::Bf16, Ty::Bf16, Ty::F32] => (HalfKind::Bf16x2, true),
            _ => return Err(self.unsupported(way_out)),
        };
        let inputs = usize::from(k) / 4;
        let results = if f32_accumulate { 4 } else { 2 };
        let accumulator = if f32_accumulate { Ty::F32 } else { Ty::F16x2 };
        let mut d = [R32(0); 4];
        let elements = self.vector(0)?;
        if elements.len() != results {
            return Err(self.bad(format!("D has {results} registers")));
        }
        for (d, element) in d.iter_mut().zip(elements) {
            *d = R32(self.destination(element, accumulator)?);
        }
        let a = self.fragment::<4>(1, "A", inputs, Ty::B32)?;
        let b = self.fragment::<2>(2, "B", inputs / 2, Ty::B32)?;
        let c = self.fragment::<4>(3, "C", results, accumulator)?;
        self.emit(Op::Mma(Box::new(Mma {
            k,
            input,
            f32_accumulate,
            d,
            a,
            b,
            c,
        })))
    }

    /// `count` source registers, in the first places of N.
    pub(super) fn fragment<const N: usize>(
        &mut self,
        i: usize,
        name: &str,
        count: usize,
        ty: Ty,
    ) -> Result<[R32; N], PtxError> {
        let elements = self.vector(i)?;
        if elements.len() != count {
            return Err(self.bad(format!("{name} has {count} registers")));
        }
        let mut registers = [R32(0); N];
        for (register, element) in registers.iter_mut().zip(elements) {
            *register = R32(self.source(element, ty)?);
        }
        Ok(registers)
    }
}
