//! What one trip of a loop asks of the parts of an sm_90 multiprocessor.

use crate::sass::{Class, Instruction, SassError, class_of, tensor_flop};

/// Operations of dense 16-bit products per cycle of a multiprocessor (NVIDIA H100 whitepaper: 989 TFLOP/s of 132 of them
/// at 1.83 GHz), for each of the four warps that issue a product.
const TENSOR_FLOP_PER_CYCLE: u64 = 4096 / 4;

/// Cycles for which one instruction of a warp keeps a part of the warp's quarter of the multiprocessor busy: the shortest
/// distance that ptxas keeps between two of the kind.
const FMA: u32 = 1;
/// The same part, for integer multiply-add and for copies that take its way.
const IMAD: u32 = 2;
/// Maximum, comparison, selection, logic, shift, integer addition, packing.
const ALU: u32 = 2;
/// Special functions, and conversions that are not packing.
const MUFU: u32 = 8;

/// One trip of one warp; of its products, those of its warpgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Instructions.
    pub instructions: u32,
    /// Sum of their issue stalls.
    pub stall_cycles: u32,
    /// Instructions that are products.
    pub products: u32,
    /// Cycles for which they keep the tensor cores of the whole multiprocessor busy.
    pub tensor_cycles: u32,
    /// Bytes of shared memory that they read.
    pub product_bytes: u32,
    /// Cycles of special functions.
    pub mufu_cycles: u32,
    /// Cycles of floating-point multiplication and addition.
    pub fma_cycles: u32,
    /// Cycles of everything else that computes.
    pub alu_cycles: u32,
    /// Bytes of shared memory that loads and stores move.
    pub access_bytes: u32,
}

impl Demand {
    /// Counts one trip.
    ///
    /// # Errors
    /// [`SassError::UnknownShape`].
    pub fn of(trip: &[&Instruction]) -> Result<Demand, SassError> {
        let mut demand = Demand::default();
        for instruction in trip {
            demand.instructions += 1;
            demand.stall_cycles += u32::from(instruction.control.stall_cycles);
            demand.access_bytes += access_bytes(instruction.opcode());
            demand.add_product(instruction)?;
            demand.add_computation(instruction.opcode());
        }
        Ok(demand)
    }

    /// Instructions outside the tensor cores per million operations on them, the same for one warp and for all. Infinite
    /// without products.
    pub fn other_instructions_per_mflop(&self) -> f64 {
        let others = f64::from(self.instructions.saturating_sub(self.products));
        let flop = u64::from(self.tensor_cycles) * TENSOR_FLOP_PER_CYCLE;
        others / (flop as f64 / 1e6)
    }

    fn add_product(&mut self, instruction: &Instruction) -> Result<(), SassError> {
        let opcode = instruction.opcode();
        if class_of(opcode) != Class::Tensor {
            return Ok(());
        }
        let unknown = || SassError::UnknownShape {
            opcode: opcode.to_owned(),
        };
        let flop = tensor_flop(opcode).ok_or_else(unknown)?;
        self.products += 1;
        self.tensor_cycles += (flop / TENSOR_FLOP_PER_CYCLE) as u32;
        if let Some(cols) = warpgroup_cols(opcode) {
            self.product_bytes += product_bytes(cols, has_first_operand_in_shared(instruction));
        }
        Ok(())
    }

    fn add_computation(&mut self, opcode: &str) {
        let base = opcode.split('.').next().unwrap_or(opcode);
        match class_of(opcode) {
            Class::Mufu => self.mufu_cycles += MUFU,
            Class::Conversion if base != "F2FP" => self.mufu_cycles += MUFU,
            Class::Float if !base.starts_with("FMNMX") => self.fma_cycles += FMA,
            Class::Integer | Class::Move if base == "IMAD" => self.fma_cycles += IMAD,
            Class::Float | Class::Conversion | Class::Integer | Class::Select => {
                self.alu_cycles += ALU;
            }
            Class::Move if base == "MOV" => self.alu_cycles += ALU,
            _ => (),
        }
    }
}

/// Bytes of shared memory that an m64nNk16 product of 16-bit elements reads: the second operand always, the first where
/// it is not in registers (PTX ISA, `wgmma.mma_async`).
pub(super) fn product_bytes(cols: u32, has_first_operand_in_shared: bool) -> u32 {
    let rows = if has_first_operand_in_shared { 64 } else { 0 };
    2 * 16 * (rows + cols)
}

/// N of `HGMMA.64xNx16`; `None` for products of a single warp.
fn warpgroup_cols(opcode: &str) -> Option<u32> {
    let shape = opcode
        .split('.')
        .find_map(|part| part.strip_prefix("64x")?.strip_suffix("x16"))?;
    shape.parse().ok()
}

/// `HGMMA.64x128x16.F32 R88, gdesc[UR16], R88` has both operands in shared memory, behind one group of descriptors;
/// `HGMMA.64x128x16.F32 R24, R152, gdesc[UR4], R24` only the second.
fn has_first_operand_in_shared(instruction: &Instruction) -> bool {
    let mut operands = instruction.text.split(',').map(str::trim);
    operands.nth(1).is_some_and(|it| it.starts_with("gdesc"))
}

/// Bytes that a load from or store to shared memory moves for a whole warp. An `LDS` counts as one pass of 128 bytes,
/// whatever its width: its lanes may ask for the same words, and the statistics of rows that loops load are such.
fn access_bytes(opcode: &str) -> u32 {
    let mut parts = opcode.split('.');
    let base = parts.next().unwrap_or("");
    match base {
        "LDS" | "ATOMS" => 128,
        "STS" => {
            32 * parts
                .find_map(|part| part.parse::<u32>().ok())
                .unwrap_or(32)
                / 8
        }
        // 8 x 8 elements of 2 bytes each.
        "LDSM" | "STSM" => {
            128 * parts
                .next_back()
                .map_or(1, |count| count.parse().unwrap_or(1))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sass::Control;

    fn instruction(text: &str) -> Instruction {
        Instruction {
            address: 0,
            text: text.to_owned(),
            control: Control::from_upper_word(3 << 41),
        }
    }

    fn demand(texts: &[&str]) -> Demand {
        let trip: Vec<Instruction> = texts.iter().map(|text| instruction(text)).collect();
        Demand::of(&trip.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_product_reads_its_first_operand_where_it_is_in_shared_memory() {
        let both = demand(&["HGMMA.64x128x16.F32.BF16 R88, gdesc[UR16], RZ, !UPT"]);
        assert_eq!((both.tensor_cycles, both.product_bytes), (64, 2048 + 4096));
        let second = demand(&["HGMMA.64x176x16.F32 R24, R152, gdesc[UR4].tnspB, R24, gsb0"]);
        assert_eq!((second.tensor_cycles, second.product_bytes), (88, 5632));
        let of_a_warp = demand(&["HMMA.16816.F32.BF16 R0, R4, R8, R0"]);
        assert_eq!((of_a_warp.tensor_cycles, of_a_warp.product_bytes), (4, 0));
    }

    #[test]
    fn every_instruction_occupies_its_part() {
        let of = |text| {
            let it = demand(&[text]);
            assert_eq!((it.instructions, it.stall_cycles), (1, 3), "{text}");
            [
                it.mufu_cycles,
                it.fma_cycles,
                it.alu_cycles,
                it.access_bytes,
            ]
        };
        for (text, expected) in [
            ("MUFU.EX2 R1, R2", [8, 0, 0, 0]),
            ("F2I.U32.TRUNC.NTZ R1, R2", [8, 0, 0, 0]),
            ("@!P0 FMUL R1, R2, R3", [0, 1, 0, 0]),
            ("FFMA.FTZ R1, R2, R3, R4", [0, 1, 0, 0]),
            ("IMAD.MOV.U32 R1, RZ, RZ, R2", [0, 2, 0, 0]),
            ("IMAD.WIDE R2, R4, R5, R6", [0, 2, 0, 0]),
            ("FMNMX R1, R2, R3, !PT", [0, 0, 2, 0]),
            ("F2FP.BF16.F32.PACK_AB R1, R2, R3", [0, 0, 2, 0]),
            ("FSEL R1, R2, R3, P0", [0, 0, 2, 0]),
            ("ISETP.NE.AND P0, PT, R1, RZ, PT", [0, 0, 2, 0]),
            ("MOV R1, R2", [0, 0, 2, 0]),
            ("LDS.64 R8, [R4+0x20]", [0, 0, 0, 128]),
            ("STS [R4], R5", [0, 0, 0, 128]),
            ("STS.128 [R4], R8", [0, 0, 0, 512]),
            ("STSM.16.MT88.4 [R3+0x2000], R200", [0, 0, 0, 512]),
            ("LDSM.16.M88 R3, [R2]", [0, 0, 0, 128]),
            ("UIADD3 UR32, UP0, UR32, 0x2, URZ", [0, 0, 0, 0]),
            ("BAR.SYNC.DEFER_BLOCKING 0x1, 0x100", [0, 0, 0, 0]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_product_of_unknown_shape_is_an_error() {
        let product = instruction("UTCHMMA gdesc[UR4]");
        assert!(Demand::of(&[&product]).is_err());
    }
}
