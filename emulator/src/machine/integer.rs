//! Integer arithmetic, logic and shifts (PTX ISA, "Integer Arithmetic" and "Logic and
//! Shift"). 16-bit operands are zero-extended; results are kept so.

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::{
    Binary16, Binary32, Binary64, Count64, R32, R64, Shift64, Ternary16, Ternary32, Ternary64,
    Unary16, Unary32, Unary64,
};

use super::bits;
use super::registers::{Lanes, Mask, Registers, each_lane};

/// Faults when a masked lane divides by zero.
#[inline(always)]
fn divisors_are_not_zero(mask: Mask, is_zero: impl Fn(usize) -> bool) -> Outcome {
    match mask.iter().find(|lane| is_zero(*lane)) {
        Some(lane) => lane_fault(lane as u32, FaultKind::DivisionByZero),
        None => Ok(()),
    }
}

/// Faults when `op` divides and a masked lane's divisor is zero.
#[inline(always)]
pub(crate) fn check_divisors16(regs: &Registers, mask: Mask, op: Binary16, b: R32) -> Outcome {
    use Binary16::{DivS, DivU, RemS, RemU};
    if !matches!(op, DivU | DivS | RemU | RemS) {
        return Ok(());
    }
    let divisors = regs.get32(b);
    divisors_are_not_zero(mask, |lane| divisors[lane] as u16 == 0)
}

/// As [`check_divisors16`].
#[inline(always)]
pub(crate) fn check_divisors32(regs: &Registers, mask: Mask, op: Binary32, b: R32) -> Outcome {
    use Binary32::{DivS, DivU, RemS, RemU};
    if !matches!(op, DivU | DivS | RemU | RemS) {
        return Ok(());
    }
    let divisors = regs.get32(b);
    divisors_are_not_zero(mask, |lane| divisors[lane] == 0)
}

/// As [`check_divisors16`].
#[inline(always)]
pub(crate) fn check_divisors64(regs: &Registers, mask: Mask, op: Binary64, b: R64) -> Outcome {
    use Binary64::{DivS, DivU, RemS, RemU};
    if !matches!(op, DivU | DivS | RemU | RemS) {
        return Ok(());
    }
    let divisors = regs.get64(b);
    divisors_are_not_zero(mask, |lane| divisors[lane] == 0)
}

#[inline(never)]
pub(crate) fn binary16(regs: &Registers, op: Binary16, a: R32, b: R32) -> Lanes<u32> {
    use Binary16::*;
    let map = |f: fn(u16, u16) -> u16| regs.map2_32(a, b, |x, y| u32::from(f(x as u16, y as u16)));
    match op {
        Add => map(|x, y| x.wrapping_add(y)),
        Sub => map(|x, y| x.wrapping_sub(y)),
        MulLo => map(|x, y| x.wrapping_mul(y)),
        MulHiU => map(|x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16),
        MulHiS => map(|x, y| ((i32::from(x as i16) * i32::from(y as i16)) >> 16) as u16),
        DivU => map(|x, y| x.checked_div(y).unwrap_or(0)),
        DivS => map(|x, y| (x as i16).wrapping_div(nonzero(y as i16, 1)) as u16),
        RemU => map(|x, y| x.checked_rem(y).unwrap_or(0)),
        RemS => map(|x, y| (x as i16).wrapping_rem(nonzero(y as i16, 1)) as u16),
        MinU => map(|x, y| x.min(y)),
        MinS => map(|x, y| (x as i16).min(y as i16) as u16),
        MaxU => map(|x, y| x.max(y)),
        MaxS => map(|x, y| (x as i16).max(y as i16) as u16),
        And => map(|x, y| x & y),
        Or => map(|x, y| x | y),
        Xor => map(|x, y| x ^ y),
        Shl => regs.map2_32(a, b, |x, n| u32::from((x << n.min(16)) as u16)),
        ShrU => regs.map2_32(a, b, |x, n| (x & 0xffff) >> n.min(16)),
        ShrS => regs.map2_32(a, b, |x, n| u32::from((x as i16 >> n.min(15)) as u16)),
    }
}

/// `value`, or `other` where it is zero: a divisor for the lanes outside the mask.
#[inline(always)]
fn nonzero<T: Default + PartialEq>(value: T, other: T) -> T {
    if value == T::default() { other } else { value }
}

#[inline(always)]
pub(crate) fn binary32(regs: &Registers, op: Binary32, a: R32, b: R32) -> Lanes<u32> {
    use Binary32::*;
    match op {
        Add => regs.map2_32(a, b, |x, y| x.wrapping_add(y)),
        Sub => regs.map2_32(a, b, |x, y| x.wrapping_sub(y)),
        AddSat => regs.map2_32(a, b, |x, y| (x as i32).saturating_add(y as i32) as u32),
        SubSat => regs.map2_32(a, b, |x, y| (x as i32).saturating_sub(y as i32) as u32),
        MulLo => regs.map2_32(a, b, |x, y| x.wrapping_mul(y)),
        MulHiU => regs.map2_32(a, b, bits::mul_hi_u32),
        MulHiS => regs.map2_32(a, b, |x, y| bits::mul_hi_s32(x as i32, y as i32) as u32),
        DivU | DivS | RemU | RemS => divide32(regs, op, a, b),
        MinU => regs.map2_32(a, b, |x, y| x.min(y)),
        MinS => regs.map2_32(a, b, |x, y| (x as i32).min(y as i32) as u32),
        MaxU => regs.map2_32(a, b, |x, y| x.max(y)),
        MaxS => regs.map2_32(a, b, |x, y| (x as i32).max(y as i32) as u32),
        And => regs.map2_32(a, b, |x, y| x & y),
        Or => regs.map2_32(a, b, |x, y| x | y),
        Xor => regs.map2_32(a, b, |x, y| x ^ y),
        Shl => regs.map2_32(a, b, |x, n| if n < 32 { x << (n & 31) } else { 0 }),
        ShrU => regs.map2_32(a, b, |x, n| if n < 32 { x >> (n & 31) } else { 0 }),
        ShrS => regs.map2_32(a, b, |x, n| (x as i32 >> n.min(31)) as u32),
        BmskClamp => regs.map2_32(a, b, |x, y| bits::bmsk(x.min(32), y.min(32))),
        BmskWrap => regs.map2_32(a, b, |x, y| bits::bmsk(x & 31, y & 31)),
        SzextUClamp => regs.map2_32(a, b, |x, n| bits::low_bits(x, n.min(32), false)),
        SzextUWrap => regs.map2_32(a, b, |x, n| bits::low_bits(x, n & 31, false)),
        SzextSClamp => regs.map2_32(a, b, |x, n| bits::low_bits(x, n.min(32), true)),
        SzextSWrap => regs.map2_32(a, b, |x, n| bits::low_bits(x, n & 31, true)),
        AddPair | MinPairU | MinPairS | MaxPairU | MaxPairS | MinRelu | MaxRelu | MinPairRelu
        | MaxPairRelu => packed32(regs, op, a, b),
    }
}

/// Operations on two 16-bit halves, and their relatives with `.relu`.
#[inline(never)]
fn packed32(regs: &Registers, op: Binary32, a: R32, b: R32) -> Lanes<u32> {
    let unsigned = |f: fn(u16, u16) -> u16| regs.map2_32(a, b, |x, y| bits::halves(x, y, f));
    let signed = |f: fn(i16, i16) -> i16| {
        regs.map2_32(a, b, |x, y| {
            bits::halves(x, y, |x, y| f(x as i16, y as i16) as u16)
        })
    };
    match op {
        Binary32::AddPair => unsigned(u16::wrapping_add),
        Binary32::MinPairU => unsigned(u16::min),
        Binary32::MaxPairU => unsigned(u16::max),
        Binary32::MinPairS => signed(i16::min),
        Binary32::MaxPairS => signed(i16::max),
        Binary32::MinPairRelu => signed(|x, y| x.min(y).max(0)),
        Binary32::MaxPairRelu => signed(|x, y| x.max(y).max(0)),
        Binary32::MinRelu => regs.map2_32(a, b, |x, y| (x as i32).min(y as i32).max(0) as u32),
        _ => regs.map2_32(a, b, |x, y| (x as i32).max(y as i32).max(0) as u32),
    }
}

#[inline(never)]
fn divide32(regs: &Registers, op: Binary32, a: R32, b: R32) -> Lanes<u32> {
    match op {
        Binary32::DivU => regs.map2_32(a, b, |x, y| x / nonzero(y, 1)),
        Binary32::DivS => regs.map2_32(a, b, |x, y| {
            (x as i32).wrapping_div(nonzero(y as i32, 1)) as u32
        }),
        Binary32::RemU => regs.map2_32(a, b, |x, y| x % nonzero(y, 1)),
        _ => regs.map2_32(a, b, |x, y| {
            (x as i32).wrapping_rem(nonzero(y as i32, 1)) as u32
        }),
    }
}

#[inline(always)]
pub(crate) fn binary64(regs: &Registers, op: Binary64, a: R64, b: R64) -> Lanes<u64> {
    use Binary64::*;
    match op {
        Add => regs.map2_64(a, b, |x, y| x.wrapping_add(y)),
        Sub => regs.map2_64(a, b, |x, y| x.wrapping_sub(y)),
        MulLo => regs.map2_64(a, b, |x, y| x.wrapping_mul(y)),
        MulHiU => regs.map2_64(a, b, bits::mul_hi_u64),
        MulHiS => regs.map2_64(a, b, |x, y| bits::mul_hi_s64(x as i64, y as i64) as u64),
        DivU | DivS | RemU | RemS => divide64(regs, op, a, b),
        MinU => regs.map2_64(a, b, |x, y| x.min(y)),
        MinS => regs.map2_64(a, b, |x, y| (x as i64).min(y as i64) as u64),
        MaxU => regs.map2_64(a, b, |x, y| x.max(y)),
        MaxS => regs.map2_64(a, b, |x, y| (x as i64).max(y as i64) as u64),
        And => regs.map2_64(a, b, |x, y| x & y),
        Or => regs.map2_64(a, b, |x, y| x | y),
        Xor => regs.map2_64(a, b, |x, y| x ^ y),
    }
}

#[inline(never)]
fn divide64(regs: &Registers, op: Binary64, a: R64, b: R64) -> Lanes<u64> {
    match op {
        Binary64::DivU => regs.map2_64(a, b, |x, y| x / nonzero(y, 1)),
        Binary64::DivS => regs.map2_64(a, b, |x, y| {
            (x as i64).wrapping_div(nonzero(y as i64, 1)) as u64
        }),
        Binary64::RemU => regs.map2_64(a, b, |x, y| x % nonzero(y, 1)),
        _ => regs.map2_64(a, b, |x, y| {
            (x as i64).wrapping_rem(nonzero(y as i64, 1)) as u64
        }),
    }
}

#[inline(always)]
pub(crate) fn shift64(regs: &Registers, op: Shift64, a: R64, b: R32) -> Lanes<u64> {
    let (x, n) = (regs.get64(a), regs.get32(b));
    match op {
        Shift64::Shl => each_lane(|i| if n[i] < 64 { x[i] << (n[i] & 63) } else { 0 }),
        Shift64::ShrU => each_lane(|i| if n[i] < 64 { x[i] >> (n[i] & 63) } else { 0 }),
        Shift64::ShrS => each_lane(|i| (x[i] as i64 >> n[i].min(63)) as u64),
    }
}

#[inline(never)]
pub(crate) fn unary16(regs: &Registers, op: Unary16, a: R32) -> Lanes<u32> {
    match op {
        Unary16::Not => regs.map1_32(a, |x| !x & 0xffff),
        Unary16::Neg => regs.map1_32(a, |x| x.wrapping_neg() & 0xffff),
        Unary16::Abs => regs.map1_32(a, |x| u32::from((x as i16).unsigned_abs())),
        Unary16::Cnot => regs.map1_32(a, |x| u32::from(x & 0xffff == 0)),
    }
}

#[inline(never)]
pub(crate) fn unary32(regs: &Registers, op: Unary32, a: R32) -> Lanes<u32> {
    match op {
        Unary32::Not => regs.map1_32(a, |x| !x),
        Unary32::Neg => regs.map1_32(a, |x| x.wrapping_neg()),
        Unary32::Abs => regs.map1_32(a, |x| (x as i32).unsigned_abs()),
        Unary32::Cnot => regs.map1_32(a, |x| u32::from(x == 0)),
        Unary32::Popc => regs.map1_32(a, |x| x.count_ones()),
        Unary32::Clz => regs.map1_32(a, |x| x.leading_zeros()),
        Unary32::Brev => regs.map1_32(a, |x| x.reverse_bits()),
        Unary32::BfindU => regs.map1_32(a, |x| bits::bfind(x.leading_zeros(), 32)),
        Unary32::BfindS => {
            regs.map1_32(a, |x| bits::bfind(bits::sign_folded(x).leading_zeros(), 32))
        }
        Unary32::BfindShiftU => regs.map1_32(a, |x| bits::bfind_shift(x.leading_zeros(), 32)),
        Unary32::BfindShiftS => regs.map1_32(a, |x| {
            bits::bfind_shift(bits::sign_folded(x).leading_zeros(), 32)
        }),
    }
}

#[inline(never)]
pub(crate) fn unary64(regs: &Registers, op: Unary64, a: R64) -> Lanes<u64> {
    match op {
        Unary64::Not => regs.map1_64(a, |x| !x),
        Unary64::Neg => regs.map1_64(a, |x| x.wrapping_neg()),
        Unary64::Abs => regs.map1_64(a, |x| (x as i64).unsigned_abs()),
        Unary64::Cnot => regs.map1_64(a, |x| u64::from(x == 0)),
        Unary64::Brev => regs.map1_64(a, |x| x.reverse_bits()),
    }
}

#[inline(never)]
pub(crate) fn count64(regs: &Registers, op: Count64, a: R64) -> Lanes<u32> {
    let a = regs.get64(a);
    match op {
        Count64::Popc => each_lane(|i| a[i].count_ones()),
        Count64::Clz => each_lane(|i| a[i].leading_zeros()),
        Count64::BfindU => each_lane(|i| bits::bfind(a[i].leading_zeros(), 64)),
        Count64::BfindS => {
            each_lane(|i| bits::bfind(bits::sign_folded64(a[i]).leading_zeros(), 64))
        }
        Count64::BfindShiftU => each_lane(|i| bits::bfind_shift(a[i].leading_zeros(), 64)),
        Count64::BfindShiftS => {
            each_lane(|i| bits::bfind_shift(bits::sign_folded64(a[i]).leading_zeros(), 64))
        }
    }
}

#[inline(never)]
pub(crate) fn ternary16(regs: &Registers, op: Ternary16, abc: [R32; 3]) -> Lanes<u32> {
    use Ternary16::*;
    match op {
        MadLo => regs.map3_32(abc, |x, y, z| x.wrapping_mul(y).wrapping_add(z) & 0xffff),
        MadHiU => regs.map3_32(abc, |x, y, z| {
            (((x & 0xffff) * (y & 0xffff)) >> 16).wrapping_add(z) & 0xffff
        }),
        MadHiS => regs.map3_32(abc, |x, y, z| {
            let product = i32::from(x as i16) * i32::from(y as i16);
            ((product >> 16) as u32).wrapping_add(z) & 0xffff
        }),
        SadU => regs.map3_32(abc, |x, y, z| {
            u32::from((x as u16).abs_diff(y as u16)).wrapping_add(z) & 0xffff
        }),
        SadS => regs.map3_32(abc, |x, y, z| {
            u32::from((x as i16).abs_diff(y as i16)).wrapping_add(z) & 0xffff
        }),
    }
}

#[inline(always)]
pub(crate) fn ternary32(regs: &Registers, op: Ternary32, abc: [R32; 3]) -> Lanes<u32> {
    use Ternary32::*;
    match op {
        MadLo => regs.map3_32(abc, |x, y, z| x.wrapping_mul(y).wrapping_add(z)),
        ShfLeftWrap => regs.map3_32(abc, |x, y, n| bits::shf_left(x, y, n & 31)),
        ShfRightWrap => regs.map3_32(abc, |x, y, n| bits::shf_right(x, y, n & 31)),
        BfeU => regs.map3_32(abc, bits::bfe_u32),
        BfeS => regs.map3_32(abc, bits::bfe_s32),
        _ => rare_ternary32(regs, op, abc),
    }
}

/// Operations too rare to be compiled for every vector extension.
#[inline(never)]
fn rare_ternary32(regs: &Registers, op: Ternary32, abc: [R32; 3]) -> Lanes<u32> {
    use Ternary32::*;
    let f: fn(u32, u32, u32) -> u32 = match op {
        MadLo => |x, y, z| x.wrapping_mul(y).wrapping_add(z),
        MadHiU => |x, y, z| bits::mul_hi_u32(x, y).wrapping_add(z),
        MadHiS => |x, y, z| (bits::mul_hi_s32(x as i32, y as i32) as u32).wrapping_add(z),
        MadHiSat => |x, y, z| bits::mul_hi_s32(x as i32, y as i32).saturating_add(z as i32) as u32,
        SadU => |x, y, z| x.abs_diff(y).wrapping_add(z),
        SadS => |x, y, z| (x as i32).abs_diff(y as i32).wrapping_add(z),
        ShfLeftClamp => |x, y, n| bits::shf_left(x, y, n.min(32)),
        ShfLeftWrap => |x, y, n| bits::shf_left(x, y, n & 31),
        ShfRightClamp => |x, y, n| bits::shf_right(x, y, n.min(32)),
        ShfRightWrap => |x, y, n| bits::shf_right(x, y, n & 31),
        BfeU => bits::bfe_u32,
        BfeS => bits::bfe_s32,
        Fns => bits::fns,
        Dp4aUU => |x, y, z| bits::dp4a(x, y, z, false, false),
        Dp4aUS => |x, y, z| bits::dp4a(x, y, z, false, true),
        Dp4aSU => |x, y, z| bits::dp4a(x, y, z, true, false),
        Dp4aSS => |x, y, z| bits::dp4a(x, y, z, true, true),
        Dp2aLoUU => |x, y, z| bits::dp2a(x, y, z, false, false),
        Dp2aLoUS => |x, y, z| bits::dp2a(x, y, z, false, true),
        Dp2aLoSU => |x, y, z| bits::dp2a(x, y, z, true, false),
        Dp2aLoSS => |x, y, z| bits::dp2a(x, y, z, true, true),
        Dp2aHiUU => |x, y, z| bits::dp2a(x, y >> 16, z, false, false),
        Dp2aHiUS => |x, y, z| bits::dp2a(x, y >> 16, z, false, true),
        Dp2aHiSU => |x, y, z| bits::dp2a(x, y >> 16, z, true, false),
        Dp2aHiSS => |x, y, z| bits::dp2a(x, y >> 16, z, true, true),
    };
    regs.map3_32(abc, f)
}

#[inline(never)]
pub(crate) fn ternary64(regs: &Registers, op: Ternary64, abc: [R64; 3]) -> Lanes<u64> {
    use Ternary64::*;
    match op {
        MadLo => regs.map3_64(abc, |x, y, z| x.wrapping_mul(y).wrapping_add(z)),
        MadHiU => regs.map3_64(abc, |x, y, z| bits::mul_hi_u64(x, y).wrapping_add(z)),
        MadHiS => regs.map3_64(abc, |x, y, z| {
            (bits::mul_hi_s64(x as i64, y as i64) as u64).wrapping_add(z)
        }),
        SadU => regs.map3_64(abc, |x, y, z| x.abs_diff(y).wrapping_add(z)),
        SadS => regs.map3_64(abc, |x, y, z| (x as i64).abs_diff(y as i64).wrapping_add(z)),
    }
}

#[inline(always)]
fn wide_product(signed: bool, x: u32, y: u32) -> u64 {
    if signed {
        (i64::from(x as i32) * i64::from(y as i32)) as u64
    } else {
        u64::from(x) * u64::from(y)
    }
}

#[inline(always)]
pub(crate) fn mul_wide32(regs: &Registers, signed: bool, a: R32, b: R32) -> Lanes<u64> {
    let (x, y) = (regs.get32(a), regs.get32(b));
    if signed {
        each_lane(|i| wide_product(true, x[i], y[i]))
    } else {
        each_lane(|i| wide_product(false, x[i], y[i]))
    }
}

#[inline(always)]
pub(crate) fn mad_wide32(regs: &Registers, signed: bool, [a, b]: [R32; 2], c: R64) -> Lanes<u64> {
    let (x, y, z) = (regs.get32(a), regs.get32(b), regs.get64(c));
    if signed {
        each_lane(|i| wide_product(true, x[i], y[i]).wrapping_add(z[i]))
    } else {
        each_lane(|i| wide_product(false, x[i], y[i]).wrapping_add(z[i]))
    }
}

/// Product of the low halves as 32 bits.
#[inline(always)]
fn wide_product16(signed: bool, x: u32, y: u32) -> u32 {
    if signed {
        (i32::from(x as i16) * i32::from(y as i16)) as u32
    } else {
        (x & 0xffff) * (y & 0xffff)
    }
}

/// `mul.wide` of 16-bit operands.
#[inline(never)]
pub(crate) fn mul_wide16(regs: &Registers, signed: bool, a: R32, b: R32) -> Lanes<u32> {
    regs.map2_32(a, b, |x, y| wide_product16(signed, x, y))
}

/// `mad.wide` of 16-bit operands.
#[inline(never)]
pub(crate) fn mad_wide16(regs: &Registers, signed: bool, abc: [R32; 3]) -> Lanes<u32> {
    regs.map3_32(abc, |x, y, z| wide_product16(signed, x, y).wrapping_add(z))
}

#[inline(never)]
pub(crate) fn lop3(regs: &Registers, lut: u8, abc: [R32; 3]) -> Lanes<u32> {
    regs.map3_32(abc, |x, y, z| bits::lop3(lut, x, y, z))
}

#[inline(never)]
pub(crate) fn bfi32(regs: &Registers, ab: [R32; 2], place: [R32; 2]) -> Lanes<u32> {
    let [x, into, pos, len] = [ab[0], ab[1], place[0], place[1]].map(|r| regs.get32(r));
    each_lane(|i| bits::bfi_u32(x[i], into[i], pos[i], len[i]))
}

#[inline(never)]
pub(crate) fn bfi64(regs: &Registers, ab: [R64; 2], place: [R32; 2]) -> Lanes<u64> {
    let [x, into] = ab.map(|r| regs.get64(r));
    let [pos, len] = place.map(|r| regs.get32(r));
    each_lane(|i| bits::bfi_u64(x[i], into[i], pos[i], len[i]))
}

#[inline(never)]
pub(crate) fn bfe64(regs: &Registers, signed: bool, a: R64, place: [R32; 2]) -> Lanes<u64> {
    let x = regs.get64(a);
    let [pos, len] = place.map(|r| regs.get32(r));
    let extract = if signed { bits::bfe_s64 } else { bits::bfe_u64 };
    each_lane(|i| extract(x[i], pos[i], len[i]))
}
