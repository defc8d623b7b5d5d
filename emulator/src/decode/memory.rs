//! Loads, stores, fences and cache control (PTX ISA 9.7.9 and 9.7.13).
//!
//! Acquire and release are an access plus a fence. Cache operators and prefetches change no value and are dropped.

use super::inst::Inst;
use super::operands::file_of;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Consistency, LaneOp, MemoryType, Op, Scope, Space};
use crate::syntax::Operand;

/// How strong an access is, and which fences it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ordering {
    consistency: Consistency,
    release: bool,
    acquire: bool,
}

impl Ordering {
    /// Scope of a strong access; atomics are strong even where they do not say so.
    pub fn scope(self) -> Scope {
        match self.consistency {
            Consistency::Strong(scope) => scope,
            _ => Scope::Gpu,
        }
    }
}

const SCOPES: &[(&str, Scope)] = &[
    ("cta", Scope::Cta),
    ("cluster", Scope::Cluster),
    ("gpu", Scope::Gpu),
    ("sys", Scope::Sys),
];

impl<'a> Inst<'_, '_, 'a> {
    /// Takes `.weak`, `.volatile`, `.relaxed`, `.acquire`, `.release`, `.acq_rel` and the scope.
    pub fn ordering(&mut self) -> Ordering {
        let semantics = self.choose(&[
            ("weak", (None, false, false)),
            ("volatile", (Some(Scope::Sys), false, false)),
            ("relaxed", (Some(Scope::Gpu), false, false)),
            ("acquire", (Some(Scope::Gpu), false, true)),
            ("release", (Some(Scope::Gpu), true, false)),
            ("acq_rel", (Some(Scope::Gpu), true, true)),
        ]);
        let scope = self.choose(SCOPES);
        let (default, release, acquire) = semantics.unwrap_or((scope, false, false));
        let strong = default.map(|default| Consistency::Strong(scope.unwrap_or(default)));
        Ordering {
            consistency: strong.unwrap_or(Consistency::Weak),
            release,
            acquire,
        }
    }

    /// Emits an access with the fences that it needs.
    pub fn ordered(&mut self, ordering: Ordering, op: Op) -> Result<(), PtxError> {
        let scope = ordering.scope();
        let fence = |acquire| Op::Fence {
            scope,
            acquire,
            release: !acquire,
        };
        if ordering.release {
            self.emit(fence(false))?;
        }
        self.emit(op)?;
        if ordering.acquire {
            self.emit(fence(true))?;
        }
        Ok(())
    }

    fn memory_type(&mut self) -> Result<Ty, PtxError> {
        match self.ty()? {
            Ty::Pred | Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 => {
                Err(self.bad("memory holds .b, .u, .s, .f32 and .f64; use .b16 or .b32"))
            }
            ty => Ok(ty),
        }
    }

    /// Takes vector length and type, which are the last qualifiers: what is left then is refused before the operands
    /// are looked at.
    fn vector_type(&mut self) -> Result<(u8, Ty), PtxError> {
        let vector = self.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
        let ty = self.memory_type()?;
        self.finish()?;
        Ok((vector, ty))
    }

    /// Checks a cache policy operand, which changes no value.
    pub fn cache_policy(&mut self, i: usize) -> Result<(), PtxError> {
        if self.ins.operands.len() > i {
            self.r64(i, Ty::B64)?;
        }
        Ok(())
    }

    /// `ld`
    pub fn load(&mut self) -> Result<(), PtxError> {
        self.arity(2..=3)?;
        let ordering = self.ordering();
        if ordering.release {
            return Err(self.bad("a load cannot release"));
        }
        let is_read_only = self.take("nc");
        let space = self.space().unwrap_or(Space::Generic);
        if is_read_only && space != Space::Global {
            return Err(self.bad(".nc is for .global"));
        }
        self.take_cache_hints();
        let (vector, ty) = self.vector_type()?;
        let elements = self.vector(0)?;
        if elements.len() != usize::from(vector) {
            return Err(self.bad(format!("{vector} registers are loaded")));
        }
        let bytes = self.register_bytes(elements, ty)?;
        let mut d = [0; 4];
        for (d, element) in d.iter_mut().zip(elements) {
            *d = self.destination(element, bytes)?;
        }
        let (space, address) = self.address(1, space)?;
        self.cache_policy(2)?;
        let ty = ty.in_memory(bytes);
        let consistency = if is_read_only {
            Consistency::NonCoherent
        } else {
            ordering.consistency
        };
        self.ordered(
            ordering,
            Op::Load {
                space,
                consistency,
                ty,
                vector,
                d,
                address,
            },
        )
    }

    /// Width in bytes of the registers among `elements`, which is at least that of `ty`. Elements that are no registers
    /// adapt to it.
    fn register_bytes(&mut self, elements: &[Operand<'a>], ty: Ty) -> Result<u8, PtxError> {
        let mut common = None;
        for element in elements {
            let &Operand::Name {
                name,
                component: None,
            } = element
            else {
                continue;
            };
            let Some(register) = self.find_register(name)? else {
                continue;
            };
            let fits = if ty.is_float() {
                register.bytes == ty.bytes()
            } else {
                register.bytes >= ty.bytes() && register.bytes > 0
            };
            if !fits || common.is_some_and(|bytes| bytes != register.bytes) {
                let rule =
                    format!("{name} does not have the size of the type or of its neighbours");
                return Err(self.bad(rule));
            }
            common = Some(register.bytes);
        }
        Ok(common.unwrap_or(ty.bytes()))
    }

    /// `st`
    pub fn store(&mut self) -> Result<(), PtxError> {
        self.arity(2..=3)?;
        let ordering = self.ordering();
        if ordering.acquire {
            return Err(self.bad("a store cannot acquire"));
        }
        let space = self.space().unwrap_or(Space::Generic);
        self.take_cache_hints();
        let (vector, ty) = self.vector_type()?;
        let elements = self.vector(1)?;
        if elements.len() != usize::from(vector) {
            return Err(self.bad(format!("{vector} registers are stored")));
        }
        let bytes = self.register_bytes(elements, ty)?;
        let mut a = [0; 4];
        for (a, element) in a.iter_mut().zip(elements) {
            *a = match element {
                Operand::Name { .. } => self.source(element, bits(bytes))?,
                _ if file_of(bytes) == file_of(ty.bytes()) => self.source(element, ty)?,
                _ => return Err(self.unsupported("move the constant into a register first")),
            };
        }
        let (space, address) = self.address(0, space)?;
        if matches!(space, Space::Const | Space::Param) {
            return Err(self.bad("this memory is read-only"));
        }
        self.cache_policy(2)?;
        let ty = MemoryType {
            signed: false,
            ..ty.in_memory(bytes)
        };
        self.ordered(
            ordering,
            Op::Store {
                space,
                consistency: ordering.consistency,
                ty,
                vector,
                a,
                address,
            },
        )
    }

    /// `fence[.sc|.acq_rel].scope`, `membar.level`
    pub fn fence(&mut self) -> Result<(), PtxError> {
        if self.take("proxy") {
            return self.proxy_fence();
        }
        self.arity(0..=0)?;
        let scope = if self.ins.opcode == "membar" {
            self.require(&[("cta", Scope::Cta), ("gl", Scope::Gpu), ("sys", Scope::Sys)])?
        } else if self.take("mbarrier_init") {
            self.require(&[("release", ())])?;
            self.require(&[("cluster", ())])?;
            return self.emit(Op::MbarrierInitFence);
        } else {
            self.choose(&[("sc", ()), ("acq_rel", ())]);
            self.require(SCOPES)?
        };
        self.emit(Op::Fence {
            scope,
            acquire: true,
            release: true,
        })
    }

    /// `fence.proxy.async[.space]`. The fence of one space is taken for one of all.
    fn proxy_fence(&mut self) -> Result<(), PtxError> {
        if !self.take("async") {
            let way_out =
                "the proxies of this emulator are generic and async; maps come from the host";
            return Err(self.unsupported(way_out));
        }
        self.arity(0..=0)?;
        self.choose(&[("global", ()), ("shared::cta", ()), ("shared::cluster", ())]);
        self.emit(Op::ProxyFence)
    }

    /// `prefetch`, `prefetchu`, `applypriority`, `discard`: the address is checked for its form and not used.
    pub fn cache_control(&mut self) -> Result<(), PtxError> {
        self.arity(1..=2)?;
        let is_map = self.take("tensormap");
        let space = self.space().unwrap_or(Space::Generic);
        self.take_cache_hints();
        if !is_map {
            self.choose(&[("L1", ()), ("L2", ())]);
        }
        self.address(0, space)?;
        if self.ins.operands.len() > 1 {
            self.constant(1)?;
        }
        self.emit(Op::Nop)
    }

    /// `createpolicy.fractional`: a policy is a hint; its value is 0 here.
    pub fn create_policy(&mut self) -> Result<(), PtxError> {
        self.arity(1..=2)?;
        self.require(&[("fractional", ())])?;
        self.take_cache_hints();
        self.only_type(Ty::B64)?;
        if self.ins.operands.len() > 1 {
            self.r32(1, Ty::F32)?;
        }
        let (d, a) = (self.d64(0)?, self.builder().const64(0)?);
        self.emit(LaneOp::Mov64 { d, a })
    }
}

/// The bit type of a register.
fn bits(bytes: u8) -> Ty {
    match bytes {
        1 => Ty::B8,
        2 => Ty::B16,
        4 => Ty::B32,
        _ => Ty::B64,
    }
}
