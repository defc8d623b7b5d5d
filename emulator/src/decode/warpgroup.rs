//! Warpgroup products (PTX ISA 9.7.15) and `setmaxnreg`.

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{HalfKind, Major, Op, Pred, R32, R64, Wgmma, WgmmaA};
use crate::syntax::Operand;

/// Registers that `setmaxnreg` may name.
const REGISTERS: std::ops::RangeInclusive<u64> = 24..=256;

/// Groups that may be unfinished behind `wgmma.wait_group`: no kernel has a use for more, and ptxas
/// keeps count of a few only.
const MAX_PENDING: u64 = 63;

impl Inst<'_, '_, '_> {
    /// `wgmma.{mma_async,fence,commit_group,wait_group}`
    pub fn wgmma(&mut self) -> Result<(), PtxError> {
        let action = self.require(&[
            ("mma_async", 0),
            ("fence", 1),
            ("commit_group", 2),
            ("wait_group", 3),
        ])?;
        self.sync_aligned()?;
        match action {
            0 => self.wgmma_product(),
            1 => self.warpgroup_step(Op::WgmmaFence),
            2 => self.warpgroup_step(Op::WgmmaCommit),
            _ => {
                self.arity(1..=1)?;
                let pending = self.constant(0)?;
                if pending > MAX_PENDING {
                    let rule = format!("{pending} pending groups exceed {MAX_PENDING}");
                    return Err(self.bad(rule));
                }
                let pending = pending as u32;
                self.emit(Op::WgmmaWait { pending })
            }
        }
    }

    fn warpgroup_step(&mut self, op: Op) -> Result<(), PtxError> {
        self.arity(0..=0)?;
        self.emit(op)
    }

    /// `wgmma.mma_async.sync.aligned.m64nNk16.d.a.b {d..}, a, b, scale-d, scale-a, scale-b[, trans-a], trans-b`,
    /// where a is a descriptor, or four registers and then without trans-a
    fn wgmma_product(&mut self) -> Result<(), PtxError> {
        let n = self.wgmma_columns()?;
        let types = [self.next_type(), self.next_type(), self.next_type()];
        let (input, f32_accumulate) = match types.map(|ty| ty.unwrap_or(Ty::Pred)) {
            [Ty::F32, Ty::F16, Ty::F16] => (HalfKind::F16x2, true),
            [Ty::F16, Ty::F16, Ty::F16] => (HalfKind::F16x2, false),
            [Ty::F32, Ty::Bf16, Ty::Bf16] => (HalfKind::Bf16x2, true),
            _ => return Err(self.unsupported(".f16 and .bf16 products are known here")),
        };
        let d = self.accumulator(n, f32_accumulate)?;
        let is_shared = !matches!(self.operand(1)?, Operand::Vector(_));
        self.arity(7 + usize::from(is_shared)..=7 + usize::from(is_shared))?;
        let a = if is_shared {
            WgmmaA::Shared(self.r64(1, Ty::B64)?, self.major(6)?)
        } else {
            WgmmaA::Registers(self.fragment::<4>(1, "A", 4, Ty::B32)?)
        };
        let product = Wgmma {
            n,
            input,
            f32_accumulate,
            d,
            accumulate: self.scale_d(3)?,
            a,
            b: R64(self.source(self.operand(2)?, Ty::B64)?),
            b_major: self.major(6 + usize::from(is_shared))?,
            negate: self.is_negated(4)? != self.is_negated(5)?,
        };
        self.emit(Op::Wgmma(Box::new(product)))
    }

    /// N of `.m64nNk16`.
    fn wgmma_columns(&mut self) -> Result<u16, PtxError> {
        let columns = |word: &str| {
            let n = word.strip_prefix("m64n")?.strip_suffix("k16")?;
            n.parse()
                .ok()
                .filter(|n: &u16| n.to_string().len() + 7 == word.len())
        };
        let way_out = "the shapes m64nNk16 are known here, N from 8 to 256 in steps of 8";
        let n = self.take_map(columns).unwrap_or(0);
        if n.is_multiple_of(8) && (8..=256).contains(&n) {
            Ok(n)
        } else {
            Err(self.unsupported(way_out))
        }
    }

    /// The registers of D, all different.
    fn accumulator(&mut self, n: u16, f32_accumulate: bool) -> Result<Vec<R32>, PtxError> {
        let (count, ty) = if f32_accumulate {
            (n / 2, Ty::F32)
        } else {
            (n / 4, Ty::F16x2)
        };
        let elements = self.vector(0)?;
        if elements.len() != usize::from(count) {
            return Err(self.bad(format!("D has {count} registers")));
        }
        let mut d = Vec::with_capacity(elements.len());
        for element in elements {
            d.push(R32(self.destination(element, ty)?));
        }
        let mut different = d.clone();
        different.sort_unstable();
        different.dedup();
        if different.len() < d.len() {
            return Err(self.bad("a register of D is named twice"));
        }
        Ok(d)
    }

    /// `scale-d`: a predicate, or a constant.
    fn scale_d(&mut self, i: usize) -> Result<Option<Pred>, PtxError> {
        Ok(match self.constant(i) {
            Ok(0) => None,
            Ok(1) => Some(Pred::TRUE),
            Ok(_) => return Err(self.bad("scale-d is a predicate, 0 or 1")),
            Err(_) => Some(self.pred(i)?),
        })
    }

    /// `imm-trans`.
    fn major(&mut self, i: usize) -> Result<Major, PtxError> {
        match self.constant(i)? {
            0 => Ok(Major::K),
            1 => Ok(Major::Mn),
            _ => Err(self.bad("a transposition is 0 or 1")),
        }
    }

    /// `imm-scale`.
    fn is_negated(&mut self, i: usize) -> Result<bool, PtxError> {
        match self.constant(i)? as i64 {
            1 => Ok(false),
            -1 => Ok(true),
            _ => Err(self.bad("the scale of an operand is 1 or -1")),
        }
    }

    /// `setmaxnreg.{inc,dec}.sync.aligned.u32 n`
    pub fn set_max_registers(&mut self) -> Result<(), PtxError> {
        let increase = self.require(&[("inc", true), ("dec", false)])?;
        self.sync_aligned()?;
        self.only_type(Ty::U32)?;
        self.arity(1..=1)?;
        let registers = self.constant(0)?;
        if !REGISTERS.contains(&registers) || !registers.is_multiple_of(8) {
            let rule = format!("{registers} registers: from 24 to 256 in steps of 8 are possible");
            return Err(self.bad(rule));
        }
        self.emit(Op::SetMaxRegisters {
            increase,
            registers: registers as u16,
        })
    }
}
