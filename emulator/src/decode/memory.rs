//! Loads, stores, fences and cache control (PTX ISA 9.7.9 and 9.7.13).
//!
//! Acquire and release are an access plus a fence. Cache operators and prefetches change no value and are dropped.

use super::hints::Hints;
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
    is_volatile: bool,
}

impl Ordering {
    /// Whether later accesses stay behind it.
    pub fn acquires(self) -> bool {
        self.acquire
    }

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
    /// Takes `.relaxed`, `.acquire`, `.release`, `.acq_rel` and the scope; of loads and stores also `.weak` and
    /// `.volatile`.
    pub fn ordering(&mut self, is_atomic: bool) -> Result<Ordering, PtxError> {
        let order = self.choose(&[
            ("weak", "weak"),
            ("volatile", "volatile"),
            ("relaxed", "relaxed"),
            ("acquire", "acquire"),
            ("release", "release"),
            ("acq_rel", "acq_rel"),
        ]);
        let scope = self.choose(SCOPES);
        let is_strong = !matches!(order, None | Some("weak" | "volatile"));
        if is_atomic && matches!(order, Some("weak" | "volatile")) {
            return Err(self.bad("an atomic is neither .weak nor .volatile; leave it out"));
        }
        if !is_atomic && is_strong != scope.is_some() {
            let rule = "an order (.relaxed .acquire .release) and a scope come together";
            return Err(self.bad(rule));
        }
        let is_volatile = order == Some("volatile");
        let default = match order {
            None | Some("weak") => scope,
            Some("volatile") => Some(Scope::Sys),
            Some(_) => Some(scope.unwrap_or(Scope::Gpu)),
        };
        Ok(Ordering {
            consistency: default.map_or(Consistency::Weak, Consistency::Strong),
            release: matches!(order, Some("release" | "acq_rel")),
            acquire: matches!(order, Some("acquire" | "acq_rel")),
            is_volatile,
        })
    }

    /// The rules that tie the order of a load or store to its space and its hints.
    fn check_order(&self, by: Ordering, space: Space, hints: Hints) -> Result<(), PtxError> {
        let is_weak = by.consistency == Consistency::Weak;
        let has_order = matches!(
            space,
            Space::Global | Space::Generic | Space::Shared | Space::SharedCluster
        );
        let rule = if !is_weak && !has_order {
            "an order is for .global, .shared and generic addresses; other memory has one reader"
        } else if !is_weak && hints.operator {
            "a cache operator is for weak accesses; leave it out"
        } else if by.is_volatile && (hints.priority || hints.policy) {
            "a volatile access has no eviction priority and no cache policy"
        } else {
            return self.check_hints(hints, space);
        };
        Err(self.bad(rule))
    }

    /// `.param::func` is the memory of a call, `.param::entry` that of the entry.
    fn check_param(&self, space: Space) -> Result<(), PtxError> {
        let is_call = space == Space::Local;
        let names = |word: &str| self.ins.qualifiers.contains(&word);
        if names("param::func") && !is_call || names("param::entry") && is_call {
            let rule = ".param::func names a parameter of a call, .param::entry one of the entry";
            return Err(self.bad(rule));
        }
        Ok(())
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

    /// `ld`
    pub fn load(&mut self) -> Result<(), PtxError> {
        self.arity(2..=3)?;
        let has_order = self.ins.qualifiers.contains(&"weak");
        let ordering = self.ordering(false)?;
        if ordering.release {
            return Err(self.bad("a load cannot release"));
        }
        let is_read_only = self.take("nc");
        let has_order = has_order || ordering.consistency != Consistency::Weak;
        let space = self.space().unwrap_or(Space::Generic);
        if is_read_only && (space != Space::Global || has_order) {
            return Err(self.bad(".nc is for .global, without an order"));
        }
        let operators = ["ca", "cg", "cs", "lu", "cv"];
        let operators = &operators[..if is_read_only { 3 } else { 5 }];
        let hints = self.access_hints(operators, false);
        self.check_order(ordering, space, hints)?;
        let (vector, ty) = self.vector_type()?;
        let elements = self.vector(0)?;
        if elements.len() != usize::from(vector) {
            return Err(self.bad(format!("{vector} registers are loaded")));
        }
        let bytes = self.register_bytes(elements, ty)?;
        let mut d = [0; 4];
        for (d, element) in d.iter_mut().zip(elements) {
            *d = self.destination(element, ty.in_register(bytes))?;
        }
        let (space, address) = self.address(1, space)?;
        self.check_param(space)?;
        self.cache_policy(2, hints.policy)?;
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
        let ordering = self.ordering(false)?;
        if ordering.acquire {
            return Err(self.bad("a store cannot acquire"));
        }
        let space = self.space().unwrap_or(Space::Generic);
        let hints = self.access_hints(&["wb", "cg", "cs", "wt"], true);
        self.check_order(ordering, space, hints)?;
        let (vector, ty) = self.vector_type()?;
        let elements = self.vector(1)?;
        if elements.len() != usize::from(vector) {
            return Err(self.bad(format!("{vector} registers are stored")));
        }
        let bytes = self.register_bytes(elements, ty)?;
        let mut a = [0; 4];
        for (a, element) in a.iter_mut().zip(elements) {
            let is_register = match *element {
                Operand::Name { name, .. } => self.find_register(name)?.is_some(),
                _ => false,
            };
            *a = match element {
                _ if is_register => self.source(element, ty.in_register(bytes))?,
                _ if file_of(bytes) == file_of(ty.bytes()) => self.source(element, ty)?,
                _ => return Err(self.unsupported("move the constant into a register first")),
            };
        }
        let (space, address) = self.address(0, space)?;
        if matches!(space, Space::Const | Space::Param) {
            return Err(self.bad("this memory is read-only"));
        }
        self.check_param(space)?;
        self.cache_policy(2, hints.policy)?;
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
        let opcode = self.ins.opcode;
        let has_size = !opcode.starts_with("prefetch");
        let space = if opcode == "prefetchu" {
            self.require(&[("L1", ())])?;
            None
        } else if opcode == "prefetch" && self.take("tensormap") {
            self.choose(&[("const", Space::Const), ("param", Space::Param)])
        } else {
            let spaces = [("global", Space::Global), ("local", Space::Local)];
            let space = self.choose(&spaces[..if has_size { 1 } else { 2 }]);
            let levels: &[(&str, ())] = match (opcode, space) {
                ("discard", _) => &[("L2", ())],
                ("applypriority", _) => &[("L2::evict_normal", ())],
                (_, Some(Space::Global)) => &[
                    ("L1", ()),
                    ("L2", ()),
                    ("L2::evict_last", ()),
                    ("L2::evict_normal", ()),
                ],
                _ => &[("L1", ()), ("L2", ())],
            };
            self.require(levels)?;
            space
        };
        let count = 1 + usize::from(has_size);
        self.arity(count..=count)?;
        self.address(0, space.unwrap_or(Space::Generic))?;
        if has_size && self.constant(1)? != 128 {
            return Err(self.bad("the size is 128"));
        }
        self.emit(Op::Nop)
    }

    /// `createpolicy.fractional`: a policy is a hint; its value is 0 here.
    pub fn create_policy(&mut self) -> Result<(), PtxError> {
        self.arity(1..=2)?;
        self.require(&[("fractional", ())])?;
        let second = [("L2::evict_first", ()), ("L2::evict_unchanged", ())];
        let first = [
            second[0],
            second[1],
            ("L2::evict_last", ()),
            ("L2::evict_normal", ()),
        ];
        self.require(&first)?;
        self.choose(&second);
        self.only_type(Ty::B64)?;
        if self.ins.operands.len() > 1 {
            self.r32(1, Ty::F32)?;
        }
        let (d, a) = (self.d64(0, Ty::B64)?, self.builder().const64(0)?);
        self.emit(LaneOp::Mov64 { d, a })
    }
}
