//! What an opcode does, in the classes that share a part of the hardware, and how much work a tensor instruction is.

/// A class of machine instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Matrix products on the tensor cores.
    Tensor,
    /// Special functions: exponential, reciprocal, square root.
    Mufu,
    /// Floating-point arithmetic and minimum and maximum, outside the tensor cores.
    Float,
    /// Conversions between number formats.
    Conversion,
    /// Integer arithmetic, shifts and logic.
    Integer,
    /// Loads from shared memory.
    SharedLoad,
    /// Stores to shared memory and atomics on it.
    SharedStore,
    /// Loads from global memory and copies of it to shared memory.
    GlobalLoad,
    /// Stores to global memory and atomics on it.
    GlobalStore,
    /// Loads from and stores to local memory: stack and spills.
    Local,
    /// Exchange between the lanes of a warp.
    Shuffle,
    /// Comparisons, predicate logic and selection by predicate.
    Select,
    /// Copies between registers, of constants and of special registers.
    Move,
    /// Everything on the uniform datapath, one operation for the warp.
    Uniform,
    /// Barriers, fences, waits for copies, convergence.
    Sync,
    /// Jumps, calls and exits.
    Branch,
    /// What is none of these, for example `NOP`.
    Other,
}

impl Class {
    /// All classes, in the order of their declaration: `class as usize` is the position here.
    pub const ALL: [Class; 17] = [
        Class::Tensor,
        Class::Mufu,
        Class::Float,
        Class::Conversion,
        Class::Integer,
        Class::SharedLoad,
        Class::SharedStore,
        Class::GlobalLoad,
        Class::GlobalStore,
        Class::Local,
        Class::Shuffle,
        Class::Select,
        Class::Move,
        Class::Uniform,
        Class::Sync,
        Class::Branch,
        Class::Other,
    ];

    /// One or two words for a table.
    pub fn name(self) -> &'static str {
        match self {
            Class::Tensor => "tensor",
            Class::Mufu => "mufu",
            Class::Float => "float",
            Class::Conversion => "conversion",
            Class::Integer => "integer",
            Class::SharedLoad => "shared load",
            Class::SharedStore => "shared store",
            Class::GlobalLoad => "global load",
            Class::GlobalStore => "global store",
            Class::Local => "local",
            Class::Shuffle => "shuffle",
            Class::Select => "select",
            Class::Move => "move",
            Class::Uniform => "uniform",
            Class::Sync => "sync",
            Class::Branch => "branch",
            Class::Other => "other",
        }
    }
}

/// Opcodes of each class without their modifiers (CUDA Binary Utilities, "Instruction Set Reference", Ampere, Hopper,
/// Blackwell). Those of the uniform datapath are known by their first letter.
const OPCODES: [(Class, &str); 16] = [
    (
        Class::Tensor,
        "HMMA IMMA DMMA BMMA QMMA OMMA HGMMA IGMMA QGMMA BGMMA UTCHMMA UTCIMMA UTCQMMA UTCOMMA",
    ),
    (Class::Mufu, "MUFU"),
    (
        Class::Float,
        "FFMA FADD FMUL FMNMX FMNMX3 FFMA32I FADD32I FMUL32I FFMA2 FADD2 FMUL2 FSWZADD FCHK \
         HADD2 HFMA2 HMUL2 HMNMX2 HADD2_32I HFMA2_32I HMUL2_32I DADD DFMA DMUL",
    ),
    (
        Class::Conversion,
        "F2F F2FP F2I F2IP I2F I2FP I2I I2IP FRND",
    ),
    (
        Class::Integer,
        "IADD IADD3 IADD32I IADD64 IMAD IMAD32I IMUL IMUL32I IMNMX IABS IDP IDP4A ISCADD LEA LOP LOP3 LOP32I \
         SHF SHL SHR PRMT BMSK BREV FLO POPC SGXT VABSDIFF VABSDIFF4 VIADD VIADDMNMX VIMNMX VIMNMX3 VHMNMX",
    ),
    (Class::SharedLoad, "LDS LDSM"),
    (Class::SharedStore, "STS STSM ATOMS"),
    (
        Class::GlobalLoad,
        "LD LDG LDGSTS UBLKCP UTMALDG UTMAPF TLD TEX",
    ),
    (
        Class::GlobalStore,
        "ST STG ATOM ATOMG RED REDG UTMASTG UTMAREDG UBLKRED",
    ),
    (Class::Local, "LDL STL"),
    (Class::Shuffle, "SHFL VOTE MATCH REDUX MOVM"),
    (
        Class::Select,
        "SEL FSEL ISETP FSETP DSETP HSET2 HSETP2 FSET ISET PSETP PLOP3 P2R R2P FCMP ICMP CSET CSETP",
    ),
    (Class::Move, "MOV MOV32I CS2R S2R LDC"),
    (Class::Uniform, "R2UR S2UR CS2UR VOTEU"),
    (
        Class::Sync,
        "BAR DEPBAR LDGDEPBAR LDGMC ARRIVES MEMBAR ERRBAR FENCE CCTL CCTLL CCTLT SYNCS WARPGROUP WARPGROUPSET WARPSYNC \
         BSSY BSYNC BMOV NANOSLEEP YIELD ELECT UTMACMDFLUSH UTMACCTL UTCBAR ACQBULK ENDCOLLECTIVE USETMAXREG",
    ),
    (
        Class::Branch,
        "BRA BRX BRXU JMP JMX JMXU CALL RET EXIT BREAK KILL BPT RTT RPCMOV WARPEXIT",
    ),
];

/// The class of an opcode, given with its modifiers.
pub fn class_of(opcode: &str) -> Class {
    let (base, modifiers) = opcode.split_once('.').unwrap_or((opcode, ""));
    // `IMAD.MOV` is how the compiler spreads copies over two pipelines.
    if base == "IMAD" && modifiers.starts_with("MOV") {
        return Class::Move;
    }
    let named = OPCODES
        .iter()
        .find(|(_, bases)| bases.split_whitespace().any(|word| word == base));
    match named {
        Some(&(class, _)) => class,
        None if base.starts_with('U') => Class::Uniform,
        None => Class::Other,
    }
}

/// Floating-point (or integer) operations of one tensor instruction of one warp: two for each of the m·n·k products of
/// its shape. `None` when the opcode tells no shape.
///
/// `HMMA.16816` is m16n8k16, `IMMA.8816` m8n8k16, `DMMA.8x8x4` m8n8k4. `HGMMA.64x128x16` is the product of a warpgroup,
/// that is of four warps, which all issue it.
pub fn tensor_flop(opcode: &str) -> Option<u64> {
    let (base, modifiers) = opcode.split_once('.')?;
    let [m, n, k] = modifiers.split('.').find_map(shape)?;
    let warps = if base.ends_with("GMMA") { 4 } else { 1 };
    Some(2 * m * n * k / warps)
}

/// `16816`, `8832` or `64x128x16` as (m, n, k).
fn shape(modifier: &str) -> Option<[u64; 3]> {
    if let [m, n, k] = modifier.split('x').collect::<Vec<_>>()[..] {
        return Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?]);
    }
    let (m, k) = match modifier.strip_prefix("168") {
        Some(k) => (16, k),
        None => (8, modifier.strip_prefix("88")?),
    };
    Some([m, 8, k.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_the_class_of_what_they_occupy() {
        for (opcode, class) in [
            ("HMMA.16816.F32.BF16", Class::Tensor),
            ("HGMMA.64x128x16.F32.BF16", Class::Tensor),
            ("MUFU.EX2", Class::Mufu),
            ("FMNMX", Class::Float),
            ("HFMA2.MMA", Class::Float),
            ("F2FP.BF16.PACK_AB", Class::Conversion),
            ("IMAD.WIDE.U32", Class::Integer),
            ("IMAD.MOV.U32", Class::Move),
            ("LDSM.16.MT88.4", Class::SharedLoad),
            ("STS.128", Class::SharedStore),
            ("LDGSTS.E.BYPASS.128", Class::GlobalLoad),
            ("STG.E", Class::GlobalStore),
            ("STL.64", Class::Local),
            ("SHFL.BFLY", Class::Shuffle),
            ("ISETP.GE.AND", Class::Select),
            ("CS2R", Class::Move),
            ("ULDC.64", Class::Uniform),
            ("UTMALDG.4D", Class::GlobalLoad),
            ("S2UR", Class::Uniform),
            ("BAR.SYNC.DEFER_BLOCKING", Class::Sync),
            ("LDGDEPBAR", Class::Sync),
            ("BRA", Class::Branch),
            ("NOP", Class::Other),
        ] {
            assert_eq!(class_of(opcode), class, "{opcode}");
        }
    }

    #[test]
    fn no_opcode_has_two_classes_and_every_class_has_its_position() {
        let mut words: Vec<&str> = OPCODES
            .iter()
            .flat_map(|(_, bases)| bases.split_whitespace())
            .collect();
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
        assert!(
            Class::ALL
                .iter()
                .enumerate()
                .all(|(i, &class)| class as usize == i)
        );
    }

    #[test]
    fn the_work_of_a_tensor_instruction_follows_from_its_shape() {
        for (opcode, flop) in [
            ("HMMA.16816.F32.BF16", 2 * 16 * 8 * 16),
            ("HMMA.1688.F32", 2 * 16 * 8 * 8),
            ("IMMA.16832.S8.S8", 2 * 16 * 8 * 32),
            ("IMMA.8816.S8.S8", 2 * 8 * 8 * 16),
            ("DMMA.8x8x4", 2 * 8 * 8 * 4),
            ("HGMMA.64x128x16.F32", 2 * 64 * 128 * 16 / 4),
        ] {
            assert_eq!(tensor_flop(opcode), Some(flop), "{opcode}");
        }
        for opcode in ["HMMA", "HMMA.F32", "UTCHMMA.2CTA", "FADD.FTZ"] {
            assert_eq!(tensor_flop(opcode), None, "{opcode}");
        }
    }
}
