//! Scalar bit and wide-product functions, one per rule of the ISA text.

use crate::ir::PrmtMode;

/// High 32 bits of the unsigned product.
#[inline(always)]
pub(crate) fn mul_hi_u32(x: u32, y: u32) -> u32 {
    ((u64::from(x) * u64::from(y)) >> 32) as u32
}

/// High 32 bits of the signed product.
#[inline(always)]
pub(crate) fn mul_hi_s32(x: i32, y: i32) -> i32 {
    ((i64::from(x) * i64::from(y)) >> 32) as i32
}

/// High 64 bits of the unsigned product.
#[inline(always)]
pub(crate) fn mul_hi_u64(x: u64, y: u64) -> u64 {
    ((u128::from(x) * u128::from(y)) >> 64) as u64
}

/// High 64 bits of the signed product.
#[inline(always)]
pub(crate) fn mul_hi_s64(x: i64, y: i64) -> i64 {
    ((i128::from(x) * i128::from(y)) >> 64) as i64
}

/// `f` of the low halves and of the high halves.
#[inline(always)]
pub(crate) fn halves(x: u32, y: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    let high = f((x >> 16) as u16, (y >> 16) as u16);
    u32::from(high) << 16 | u32::from(f(x as u16, y as u16))
}

/// Flips a negative value, so that its first bit that differs from the sign is its highest one.
#[inline(always)]
pub(crate) fn sign_folded(x: u32) -> u32 {
    x ^ (x as i32 >> 31) as u32
}

/// As [`sign_folded`], for 64 bits.
#[inline(always)]
pub(crate) fn sign_folded64(x: u64) -> u64 {
    x ^ (x as i64 >> 63) as u64
}

/// `bfind` from the number of leading zeros.
#[inline(always)]
pub(crate) fn bfind(leading_zeros: u32, width: u32) -> u32 {
    // No bit set: 0 - 1 wraps to the 0xffffffff that the ISA asks for.
    (width - leading_zeros).wrapping_sub(1)
}

/// `bfind.shiftamt` from the number of leading zeros: how far to shift left to bring the bit to the
/// top.
#[inline(always)]
pub(crate) fn bfind_shift(leading_zeros: u32, width: u32) -> u32 {
    if leading_zeros == width {
        u32::MAX
    } else {
        leading_zeros
    }
}

/// `bmsk`: `count` ones from bit `start` up; both at most 32.
#[inline(always)]
pub(crate) fn bmsk(start: u32, count: u32) -> u32 {
    let ones = (1u64 << count) - 1;
    (ones << start) as u32
}

/// `szext`: the low `count` bits (at most 32), extended.
#[inline(always)]
pub(crate) fn low_bits(x: u32, count: u32, signed: bool) -> u32 {
    if count == 0 {
        return 0;
    }
    let unused = 32 - count;
    if signed {
        ((x << unused) as i32 >> unused) as u32
    } else {
        x << unused >> unused
    }
}

/// `shf.l`: upper word of `[high:low] << amount`, amount at most 32.
#[inline(always)]
pub(crate) fn shf_left(low: u32, high: u32, amount: u32) -> u32 {
    let value = u64::from(high) << 32 | u64::from(low);
    (value << amount >> 32) as u32
}

/// `shf.r`: lower word of `[high:low] >> amount`, amount at most 32.
#[inline(always)]
pub(crate) fn shf_right(low: u32, high: u32, amount: u32) -> u32 {
    let value = u64::from(high) << 32 | u64::from(low);
    (value >> amount) as u32
}

/// `bfe.u32`; only the low bytes of pos and len count.
#[inline(always)]
pub(crate) fn bfe_u32(x: u32, pos: u32, len: u32) -> u32 {
    bfe_u64(u64::from(x), pos, len) as u32
}

/// `bfe.s32`: past the top bit, the sign is seen.
#[inline(always)]
pub(crate) fn bfe_s32(x: u32, pos: u32, len: u32) -> u32 {
    bfe_s64(x as i32 as i64 as u64, pos, len) as u32
}

/// `bfe.u64`.
#[inline(always)]
pub(crate) fn bfe_u64(x: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let shifted = if pos < 64 { x >> (pos & 63) } else { 0 };
    if len < 64 {
        shifted & ((1 << (len & 63)) - 1)
    } else {
        shifted
    }
}

/// `bfe.s64`.
#[inline(always)]
pub(crate) fn bfe_s64(x: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let shifted = x as i64 >> pos.min(63);
    let unused = 64 - len.min(64);
    (shifted << unused >> unused) as u64
}

/// `bfi.b32`: the low `len` bits of `x` inserted into `into` at `pos`.
#[inline(always)]
pub(crate) fn bfi_u32(x: u32, into: u32, pos: u32, len: u32) -> u32 {
    bfi_u64(u64::from(x), u64::from(into), pos, len) as u32
}

/// `bfi.b64`.
#[inline(always)]
pub(crate) fn bfi_u64(x: u64, into: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if pos >= 64 {
        return into;
    }
    let ones = if len < 64 {
        (1u64 << len) - 1
    } else {
        u64::MAX
    };
    let field = ones << pos;
    into & !field | (x << pos) & field
}

/// `fns.b32`: position of the `offset`-th set bit of `mask` counted from `base`, 0xffffffff when
/// there is none.
pub(crate) fn fns(mask: u32, base: u32, offset: u32) -> u32 {
    let (base, offset) = (base & 31, offset as i32);
    let candidates = match offset {
        0 => {
            return if mask >> base & 1 != 0 {
                base
            } else {
                u32::MAX
            };
        }
        1.. => mask >> base << base,
        _ => mask << (31 - base) >> (31 - base),
    };
    let mut positions = (0..32).filter(|i| candidates >> i & 1 != 0);
    let nth = offset.unsigned_abs() as usize - 1;
    let found = if offset > 0 {
        positions.nth(nth)
    } else {
        positions.nth_back(nth)
    };
    found.unwrap_or(u32::MAX)
}

fn byte(x: u32, index: u32, signed: bool) -> i32 {
    let value = (x >> (8 * index)) as u8;
    if signed {
        i32::from(value as i8)
    } else {
        i32::from(value)
    }
}

fn half(x: u32, index: u32, signed: bool) -> i32 {
    let value = (x >> (16 * index)) as u16;
    if signed {
        i32::from(value as i16)
    } else {
        i32::from(value)
    }
}

/// `dp4a`: four byte products added to `c`.
pub(crate) fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, a_signed) * byte(b, i, b_signed)) as u32)
    })
}

/// `dp2a.lo`: two products of 16 by 8 bits added to `c`.
pub(crate) fn dp2a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    (0..2).fold(c, |sum, i| {
        sum.wrapping_add((half(a, i, a_signed) * byte(b, i, b_signed)) as u32)
    })
}

/// `lop3.b32`.
#[inline(always)]
pub(crate) fn lop3(lut: u8, a: u32, b: u32, c: u32) -> u32 {
    let minterm = |row: u32| {
        let chosen = 0u32.wrapping_sub(u32::from(lut) >> row & 1);
        let a = if row & 4 != 0 { a } else { !a };
        let b = if row & 2 != 0 { b } else { !b };
        let c = if row & 1 != 0 { c } else { !c };
        chosen & a & b & c
    };
    (0..8).fold(0, |result, row| result | minterm(row))
}

/// `prmt.b32` in its default mode: nibble i of `selectors` picks byte i of the result from the eight
/// bytes of b:a; bit 3 of the nibble replicates that byte's sign instead.
#[inline(always)]
pub(crate) fn prmt(a: u32, b: u32, selectors: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    (0..4).fold(0, |result, i| {
        let selector = selectors >> (4 * i);
        let value = (bytes >> (8 * (selector & 7))) as u8;
        let value = if selector & 8 != 0 {
            (value as i8 >> 7) as u8
        } else {
            value
        };
        result | u32::from(value) << (8 * i)
    })
}

/// The selectors that make the default mode of `prmt` do what another mode does with the low two
/// bits of its control (PTX ISA, table of `prmt` modes).
pub(crate) fn prmt_selectors(mode: PrmtMode, control: u32) -> u32 {
    let row = (control & 3) as usize;
    match mode {
        PrmtMode::Index => control,
        PrmtMode::F4e => [0x3210, 0x4321, 0x5432, 0x6543][row],
        PrmtMode::B4e => [0x5670, 0x6701, 0x7012, 0x0123][row],
        PrmtMode::Rc8 => [0x0000, 0x1111, 0x2222, 0x3333][row],
        PrmtMode::Ecl => [0x3210, 0x3211, 0x3222, 0x3333][row],
        PrmtMode::Ecr => [0x0000, 0x1110, 0x2210, 0x3210][row],
        PrmtMode::Rc16 => [0x1010, 0x3232, 0x1010, 0x3232][row],
    }
}
