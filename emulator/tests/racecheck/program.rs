//! Straight-line programs for two blocks of two warps: accesses of all kinds, barriers, fences.

use std::fmt::Write;

/// Threads that execute a step: those whose number agrees with `value` in the bits of `mask`, of one
/// block or of both.
#[derive(Clone, Copy)]
pub struct Guard {
    pub mask: u32,
    pub value: u32,
    pub block: Option<usize>,
}

impl Guard {
    pub fn admits(self, block: usize, thread: usize) -> bool {
        self.block.is_none_or(|own| own == block) && thread as u32 & self.mask == self.value
    }

    /// The lanes that it admits of a warp that it admits.
    pub fn lanes(self) -> u32 {
        (0..32).fold(0, |lanes, lane| {
            lanes | u32::from((lane ^ self.value) & self.mask & 31 == 0) << lane
        })
    }
}

/// Order and reach of a strong access or fence.
#[derive(Clone, Copy)]
pub struct Scope {
    pub is_wide: bool,
    pub acquires: bool,
    pub releases: bool,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Load,
    NonCoherent,
    Store,
    StrongLoad(Scope),
    StrongStore(Scope),
    Atom(Scope),
    Red(Scope),
}

impl Kind {
    pub fn writes(self) -> bool {
        !matches!(self, Kind::Load | Kind::NonCoherent | Kind::StrongLoad(_))
    }

    pub fn scope(self) -> Option<Scope> {
        match self {
            Kind::StrongLoad(scope)
            | Kind::StrongStore(scope)
            | Kind::Atom(scope)
            | Kind::Red(scope) => Some(scope),
            _ => None,
        }
    }
}

/// Thread t accesses `bytes` bytes at `((t * factor + shift) & mask) * bytes`.
#[derive(Clone, Copy)]
pub struct Access {
    pub kind: Kind,
    pub memory: Memory,
    pub bytes: u32,
    pub factor: u32,
    pub shift: u32,
    pub mask: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// 1024 bytes of every block's own.
    Buffer,
    /// 1024 global bytes.
    Data,
    /// 16 global bytes.
    Flag,
}

impl Access {
    pub fn offset(&self, thread: usize) -> u32 {
        ((thread as u32 * self.factor + self.shift) & self.mask) * self.bytes
    }
}

#[derive(Clone, Copy)]
pub enum Step {
    Access(Guard, Access),
    /// `bar.warp.sync` of the lanes that the guard admits.
    WarpSync(Guard),
    /// `fence.acq_rel`.
    Fence(Guard, Scope),
    /// `bar.sync 0`.
    Barrier,
    /// Warp 0 arrives at a barrier of this number, warp 1 waits there.
    Handover(u32),
}

pub struct Program {
    pub steps: Vec<Step>,
}

impl Program {
    /// The program as PTX, one step per line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            match step {
                Step::Access(guard, access) => {
                    let (condition, instruction) = (condition(guard), instruction(access));
                    writeln!(text, "{condition} {} {instruction}", address(access))
                }
                Step::WarpSync(guard) => {
                    let lanes = guard.lanes();
                    writeln!(text, "{} @%p1 bar.warp.sync {lanes};", condition(guard))
                }
                Step::Fence(guard, scope) => {
                    let reach = reach(*scope);
                    writeln!(text, "{} @%p1 fence.acq_rel.{reach};", condition(guard))
                }
                Step::Barrier => writeln!(text, "bar.sync 0;"),
                Step::Handover(id) => writeln!(
                    text,
                    "setp.lt.u32 %p1, %r0, 32; @%p1 bar.arrive {id}, 64; @!%p1 bar.sync {id}, 64;"
                ),
            }
            .expect("a string takes everything");
        }
        text
    }
}

fn condition(guard: &Guard) -> String {
    let Guard { mask, value, block } = guard;
    let mut text = format!("and.b32 %r10, %r0, {mask}; setp.eq.u32 %p1, %r10, {value};");
    if let Some(block) = block {
        text += &format!(" setp.eq.u32 %p2, %r9, {block}; and.pred %p1, %p1, %p2;");
    }
    text
}

fn address(access: &Access) -> String {
    let Access {
        bytes,
        factor,
        shift,
        mask,
        ..
    } = access;
    let base = match access.memory {
        Memory::Buffer => "buffer",
        Memory::Data => "data",
        Memory::Flag => "flag",
    };
    format!(
        "mad.lo.u32 %r10, %r0, {factor}, {shift}; and.b32 %r10, %r10, {mask};
mul.wide.u32 %rd10, %r10, {bytes}; mov.u64 %rd11, {base}; add.s64 %rd10, %rd10, %rd11;"
    )
    .replace('\n', " ")
}

fn reach(scope: Scope) -> &'static str {
    if scope.is_wide { "gpu" } else { "cta" }
}

fn instruction(access: &Access) -> String {
    let space = match access.memory {
        Memory::Buffer => "shared",
        Memory::Data | Memory::Flag => "global",
    };
    let Some(scope) = access.kind.scope() else {
        let (op, path) = match access.kind {
            Kind::Store => ("st", ""),
            Kind::NonCoherent => ("ld", ".nc"),
            _ => ("ld", ""),
        };
        let (ty, register) = match access.bytes {
            1 => ("u8", "%r11"),
            2 => ("u16", "%r11"),
            4 => ("u32", "%r11"),
            8 => ("u64", "%rd12"),
            _ => ("v4.u32", "{%r12, %r13, %r14, %r15}"),
        };
        return match op {
            "st" => format!("@%p1 st.{space}.{ty} [%rd10], {register};"),
            _ => format!("@%p1 ld.{space}{path}.{ty} {register}, [%rd10];"),
        };
    };
    let order = match (scope.acquires, scope.releases) {
        (true, true) => "acq_rel",
        (true, false) => "acquire",
        (false, true) => "release",
        (false, false) => "relaxed",
    };
    let (ty, register) = if access.bytes == 8 {
        ("u64", "%rd12")
    } else {
        ("u32", "%r11")
    };
    let reach = reach(scope);
    match access.kind {
        Kind::StrongLoad(_) => format!("@%p1 ld.{order}.{reach}.{space}.{ty} {register}, [%rd10];"),
        Kind::StrongStore(_) => {
            format!("@%p1 st.{order}.{reach}.{space}.{ty} [%rd10], {register};")
        }
        Kind::Atom(_) => {
            format!("@%p1 atom.{order}.{reach}.{space}.add.{ty} {register}, [%rd10], 1;")
        }
        _ => format!("@%p1 red.{order}.{reach}.{space}.add.{ty} [%rd10], 1;"),
    }
}
