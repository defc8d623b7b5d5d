//! The program of one entry while it grows: instructions over virtual registers, labels, preloaded values.
//!
//! A virtual register is a slot number that is not yet shared with anyone; `slots` packs them afterwards. Branch
//! targets and branch tables hold label numbers until then.

use std::collections::HashMap;

use crate::error::PtxError;
use crate::ir::{Guard, Location, Op, Pred, R32, R64, SharedPlace, Special, Touches};

/// Register files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum File {
    /// [`R32`].
    R32,
    /// [`R64`].
    R64,
    /// [`Pred`].
    Pred,
}

impl File {
    /// The three files; a file's position here is `file as usize`.
    pub const ALL: [File; 3] = [File::R32, File::R64, File::Pred];
}

/// A value that a slot holds from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// Bits of a constant; 0 or 1 for a predicate.
    Bits(u64),
    /// A special register.
    Special(Special),
    /// Address of a `.global` variable plus bytes.
    Global(u32, i64),
    /// Address of a byte of the block's shared memory.
    Shared(SharedPlace, i64),
}

/// One emitted instruction.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Lanes that execute it.
    pub guard: Guard,
    /// What they do, over virtual registers and labels.
    pub op: Op,
    /// Where it comes from.
    pub location: Location,
    /// 32-bit registers of products that may be in flight here and keep their slots at least until now.
    pub kept: Vec<u16>,
    /// What it does to registers of products.
    pub touches: Option<Box<Touches>>,
}

/// A label of the program being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(pub u32);

/// Instructions of one kernel at most: device functions are inlined, so a small text may unfold into a large program.
const MAX_INSTRUCTIONS: usize = 1 << 20;

/// The program of one entry while it grows.
pub(super) struct Builder {
    /// Instructions so far.
    pub code: Vec<Line>,
    /// Index into `code` of each label; `None` until it is placed.
    pub labels: Vec<Option<u32>>,
    /// Jump tables, as label numbers.
    pub tables: Vec<Vec<u32>>,
    /// Virtual registers per file.
    pub counts: [u32; 3],
    /// Registers that are preloaded, with their values.
    pub preloads: HashMap<(File, Value), u16>,
    /// Bytes of local memory so far.
    pub local_bytes: u32,
    /// Guard of what is emitted now.
    pub guard: Guard,
    /// Origin of what is emitted now.
    pub location: Location,
}

impl Builder {
    /// An empty program.
    pub fn new() -> Self {
        Builder {
            code: Vec::new(),
            labels: Vec::new(),
            tables: Vec::new(),
            counts: [0, 0, 1], // predicate 0 is Pred::TRUE
            preloads: HashMap::new(),
            local_bytes: 0,
            guard: Guard::ALWAYS,
            location: Location::default(),
        }
    }

    /// Appends an instruction with the current guard and origin.
    pub fn emit(&mut self, op: impl Into<Op>) -> Result<(), PtxError> {
        if self.code.len() >= MAX_INSTRUCTIONS {
            return Err(self.limit("the number of instructions", MAX_INSTRUCTIONS as u64));
        }
        let (guard, location) = (self.guard, self.location);
        self.code.push(Line {
            guard,
            op: op.into(),
            location,
            kept: Vec::new(),
            touches: None,
        });
        Ok(())
    }

    /// Appends an instruction for all lanes that arrive.
    pub fn emit_unguarded(&mut self, op: impl Into<Op>) -> Result<(), PtxError> {
        let guard = std::mem::replace(&mut self.guard, Guard::ALWAYS);
        let result = self.emit(op);
        self.guard = guard;
        result
    }

    fn limit(&self, what: &str, limit: u64) -> PtxError {
        PtxError::limit(self.location.line, what, limit + 1, limit)
    }

    /// A fresh register.
    pub fn register(&mut self, file: File) -> Result<u16, PtxError> {
        // The number of registers, too, has to fit the type of a slot.
        let count = &mut self.counts[file as usize];
        if *count >= u32::from(u16::MAX) {
            return Err(self.limit("the number of registers", u64::from(u16::MAX)));
        }
        *count += 1;
        Ok((*count - 1) as u16)
    }

    /// A fresh 32-bit register.
    pub fn fresh32(&mut self) -> Result<R32, PtxError> {
        self.register(File::R32).map(R32)
    }

    /// A fresh 64-bit register.
    pub fn fresh64(&mut self) -> Result<R64, PtxError> {
        self.register(File::R64).map(R64)
    }

    /// A fresh predicate.
    pub fn fresh_pred(&mut self) -> Result<Pred, PtxError> {
        self.register(File::Pred).map(Pred)
    }

    /// The register that holds `value` from the start.
    pub fn preload(&mut self, file: File, value: Value) -> Result<u16, PtxError> {
        if let Some(&register) = self.preloads.get(&(file, value)) {
            return Ok(register);
        }
        let register = self.register(file)?;
        self.preloads.insert((file, value), register);
        Ok(register)
    }

    /// The register that holds a 32-bit constant.
    pub fn const32(&mut self, bits: u32) -> Result<R32, PtxError> {
        self.preload(File::R32, Value::Bits(u64::from(bits)))
            .map(R32)
    }

    /// The register that holds a 64-bit constant.
    pub fn const64(&mut self, bits: u64) -> Result<R64, PtxError> {
        self.preload(File::R64, Value::Bits(bits)).map(R64)
    }

    /// The predicate that is always `value`.
    pub fn const_pred(&mut self, value: bool) -> Result<Pred, PtxError> {
        if value {
            return Ok(Pred::TRUE);
        }
        self.preload(File::Pred, Value::Bits(0)).map(Pred)
    }

    /// A label that is not yet placed.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// Places a label before the next instruction.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0 as usize] = Some(self.code.len() as u32);
    }

    /// Sets aside local memory of every thread and returns its offset.
    pub fn local(&mut self, bytes: u64, align: u32) -> Result<u32, PtxError> {
        let limit = crate::ir::window::BYTES;
        let offset = u64::from(self.local_bytes).next_multiple_of(u64::from(align));
        let end = offset + bytes;
        if end > limit {
            return Err(self.limit("local memory per thread in bytes", limit));
        }
        self.local_bytes = end as u32;
        Ok(offset as u32)
    }
}
