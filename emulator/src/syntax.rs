//! The syntax tree of a PTX module: what the text says, before anything is given a meaning.
//!
//! Names and qualifiers borrow from the text; every node knows its line. Opcodes and their qualifiers stay words: only
//! `decode` knows which exist.

/// A whole module.
#[derive(Debug, Default)]
pub(crate) struct ModuleTree<'a> {
    /// `.version`, as (major, minor).
    pub version: (u32, u32),
    /// Number of `.target sm_NN` (90 for `sm_90a`).
    pub target: u32,
    /// The target has the suffix `a`: features of that one architecture are allowed.
    pub is_arch_specific: bool,
    /// File names by their number in `.file`.
    pub files: Vec<(u32, &'a str)>,
    /// Source lines that `.loc` directives name, each once; callers come before what is inlined there.
    pub source_lines: Vec<SourceLine>,
    /// Variables at module scope, in order.
    pub variables: Vec<Variable<'a>>,
    /// Functions and entries with and without bodies, in order.
    pub functions: Vec<Function<'a>>,
}

/// Fundamental types (PTX ISA 5.2.1) that variables, parameters and registers are declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `.pred`
    Pred,
    /// A type of 1, 2, 4, 8 or 16 bytes.
    Value {
        /// Its size.
        bytes: u8,
        /// What the bits mean.
        class: Class,
    },
}

/// What bits mean, as far as the type of a register has to fit that of an instruction (PTX ISA, "Type Checking Rules").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `.b`: fits everything.
    Bits,
    /// `.u` and `.s`.
    Integer,
    /// `.f16`, `.f16x2`.
    Half,
    /// `.bf16`, `.bf16x2`.
    Bfloat,
    /// `.f32`, `.f64`.
    Float,
}

impl Type {
    /// The type that a word names, if it names one.
    pub fn from_word(word: &str) -> Option<Type> {
        let (bytes, class) = match word {
            "pred" => return Some(Type::Pred),
            "b8" => (1, Class::Bits),
            "u8" | "s8" => (1, Class::Integer),
            "b16" => (2, Class::Bits),
            "u16" | "s16" => (2, Class::Integer),
            "f16" => (2, Class::Half),
            "bf16" => (2, Class::Bfloat),
            "b32" => (4, Class::Bits),
            "u32" | "s32" => (4, Class::Integer),
            "f16x2" => (4, Class::Half),
            "bf16x2" => (4, Class::Bfloat),
            "f32" => (4, Class::Float),
            "b64" => (8, Class::Bits),
            "u64" | "s64" => (8, Class::Integer),
            "f64" => (8, Class::Float),
            "b128" => (16, Class::Bits),
            _ => return None,
        };
        Some(Type::Value { bytes, class })
    }
}

/// State spaces that variables live in (PTX ISA 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariableSpace {
    /// `.global`
    Global,
    /// `.const`
    Const,
    /// `.shared`
    Shared,
    /// `.local`
    Local,
    /// `.param`
    Param,
}

/// A variable or parameter declaration.
#[derive(Clone, Debug)]
pub(crate) struct Variable<'a> {
    /// Line of its name.
    pub line: u32,
    /// Where it lives.
    pub space: VariableSpace,
    /// Declared `.extern`: its storage comes from elsewhere.
    pub is_extern: bool,
    /// `.align`, or the natural alignment of its type; a power of two.
    pub align: u32,
    /// Bytes of one element.
    pub element_bytes: u32,
    /// Name.
    pub name: &'a str,
    /// Size in bytes; `None` for an array without a length (`dyn_smem[]`).
    pub bytes: Option<u64>,
    /// Initial values, one per element from the first; the rest is zero.
    pub initial: Vec<Constant<'a>>,
}

/// An element of an initialiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Constant<'a> {
    /// An integer (two's complement) or the bits of a float of the element's type.
    Bits(u64),
    /// A decimal float, rounded to the element's type.
    Double(f64),
    /// Address of a symbol plus an offset; `generic(..)` when `is_generic`.
    Address {
        name: &'a str,
        offset: i64,
        is_generic: bool,
    },
}

/// A function or an entry.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    /// Line of its name.
    pub line: u32,
    /// Bytes of its text.
    pub text_bytes: usize,
    /// `.entry` rather than `.func`.
    pub is_entry: bool,
    /// Name.
    pub name: &'a str,
    /// Return parameters, `.param` or `.reg`.
    pub returns: Vec<Formal<'a>>,
    /// Parameters.
    pub params: Vec<Formal<'a>>,
    /// `.reqntid`: exact block shape.
    pub reqntid: Option<[u32; 3]>,
    /// `.maxntid`: its product bounds the threads of a block.
    pub maxntid: Option<[u32; 3]>,
    /// `.minnctapersm`: blocks that a multiprocessor shall have registers for.
    pub minnctapersm: Option<u32>,
    /// `.maxnreg`: registers of a thread at most.
    pub maxnreg: Option<u32>,
    /// `.reqnctapercluster`: exact shape of a cluster in blocks.
    pub reqnctapercluster: Option<[u32; 3]>,
    /// `.maxclusterrank`: blocks of a cluster at most.
    pub maxclusterrank: Option<u32>,
    /// `.explicitcluster`.
    pub explicitcluster: bool,
    /// The statements between its braces; `None` for a declaration.
    pub body: Option<Vec<Statement<'a>>>,
}

/// Formal parameter of a function.
#[derive(Clone, Debug)]
pub(crate) enum Formal<'a> {
    /// `.param`: a byte area.
    Param(Variable<'a>),
    /// `.reg`: a register of the callee.
    Register(Registers<'a>),
}

/// `.reg .b32 %r<12>` or `.reg .b32 a`.
#[derive(Clone, Debug)]
pub(crate) struct Registers<'a> {
    /// Line of the declaration.
    pub line: u32,
    /// Type.
    pub ty: Type,
    /// Name, or its part before the number.
    pub name: &'a str,
    /// `Some(n)`: registers `name0` to `name(n-1)`.
    pub count: Option<u32>,
}

/// A statement of a body.
#[derive(Debug)]
pub(crate) enum Statement<'a> {
    /// Register declaration.
    Registers(Registers<'a>),
    /// Variable declaration.
    Variable(Variable<'a>),
    /// `name:`
    Label { name: &'a str, line: u32 },
    /// An instruction.
    Instruction(Box<Instruction<'a>>),
    /// `{ .. }` with a scope of its own.
    Block(Vec<Statement<'a>>),
    /// `name: .branchtargets a, b;`
    BranchTargets {
        name: &'a str,
        line: u32,
        labels: Vec<&'a str>,
    },
    /// `name: .callprototype ..;` or `.calltargets ..;` (only indirect calls use them).
    CallPrototype,
}

/// Line of the source that the compiler translated, from `.loc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceLine {
    /// Number of a `.file`.
    pub file: u32,
    /// Line in it, from 1.
    pub line: u32,
    /// Where its function was inlined, as an index into [`ModuleTree::source_lines`].
    pub caller: Option<u32>,
}

/// `[@[!]pred] opcode.qualifiers operands;`
#[derive(Debug)]
pub(crate) struct Instruction<'a> {
    /// Line of its opcode.
    pub line: u32,
    /// Source line it was translated from, when `.loc` told, as an index into [`ModuleTree::source_lines`].
    pub source: Option<u32>,
    /// Its text, for error messages.
    pub text: &'a str,
    /// Predicate register and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    /// Word before the first dot.
    pub opcode: &'a str,
    /// Words after the dots.
    pub qualifiers: Vec<&'a str>,
    /// Operands, destination first.
    pub operands: Vec<Operand<'a>>,
}

/// An operand as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand<'a> {
    /// Register, label, function or variable; `component` of `%tid.x` or of a vector register.
    Name {
        name: &'a str,
        component: Option<&'a str>,
    },
    /// `name+4`: address of a variable plus bytes.
    Sum { name: &'a str, offset: i64 },
    /// Integer, two's complement.
    Integer(u64),
    /// Decimal float.
    Double(f64),
    /// Bits of an f32.
    SingleBits(u32),
    /// Bits of an f64.
    DoubleBits(u64),
    /// `[base+offset]`, or `[base, {coordinates}]` of a tensor copy.
    Address {
        base: AddressBase<'a>,
        offset: i64,
        coordinates: Vec<Operand<'a>>,
    },
    /// `{a, b}`
    Vector(Vec<Operand<'a>>),
    /// `d|p`
    Pair(Box<Operand<'a>>, Box<Operand<'a>>),
    /// `!p`
    Not(&'a str),
    /// `_`: a result that nobody wants.
    Sink,
    /// `(a, b)`: arguments or results of a call.
    List(Vec<Operand<'a>>),
}

/// What an address is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressBase<'a> {
    /// Register or variable.
    Name(&'a str),
    /// Nothing: the offset is the address.
    Absolute,
}
