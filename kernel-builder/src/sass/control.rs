//! The scheduling half of an instruction: what the compiler tells the hardware about when to issue it.

/// The control fields of a 128-bit instruction of sm_70 and later, in its upper 64-bit word: stall in bits 41 to 44,
/// yield 45, write barrier 46 to 48, read barrier 49 to 51, wait mask 52 to 57, reuse 58 to 61 (Jia et al., "Dissecting
/// the NVIDIA Volta GPU Architecture via Microbenchmarking", 2018, chapter 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Cycles until the warp may issue its next instruction.
    pub stall_cycles: u8,
    /// Whether another warp should issue next, when one can.
    pub yields: bool,
    /// Scoreboard, 0 to 5, that is released when the result has been written.
    pub write_barrier: Option<u8>,
    /// Scoreboard, 0 to 5, that is released when the operands have been read.
    pub read_barrier: Option<u8>,
    /// Scoreboards to wait for before issue, bit i = scoreboard i.
    pub wait_mask: u8,
    /// Operands that are kept for the next instruction, bit i = operand i.
    pub reuse_mask: u8,
}

impl Control {
    /// Reads the fields of the upper word.
    pub fn from_upper_word(word: u64) -> Control {
        let field = |first: u32, bits: u32| (word >> first & ((1 << bits) - 1)) as u8;
        // The number after the last scoreboard but one stands for none.
        let barrier = |first| Some(field(first, 3)).filter(|&number| number != 7);
        Control {
            stall_cycles: field(41, 4),
            // A set bit asks to stay with this warp.
            yields: field(45, 1) == 0,
            write_barrier: barrier(46),
            read_barrier: barrier(49),
            wait_mask: field(52, 6),
            reuse_mask: field(58, 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_from_its_own_bits() {
        let word = 5 << 41 | 1 << 45 | 2 << 46 | 7 << 49 | 0b100_001 << 52 | 0b1010 << 58;
        let expected = Control {
            stall_cycles: 5,
            yields: false,
            write_barrier: Some(2),
            read_barrier: None,
            wait_mask: 0b100_001,
            reuse_mask: 0b1010,
        };
        assert_eq!(Control::from_upper_word(word), expected);
        // The operation's own bits do not reach the fields.
        let operation = (1 << 41) - 1;
        assert_eq!(Control::from_upper_word(word | operation), expected);
        let all = Control::from_upper_word(u64::MAX);
        assert_eq!(
            (all.stall_cycles, all.wait_mask, all.reuse_mask),
            (15, 63, 15)
        );
    }
}
