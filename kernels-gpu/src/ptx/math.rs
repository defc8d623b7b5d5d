//! f32 arithmetic that Rust has no operator for.

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.fma.rn.f"]
    fn fma_rn_f32(a: f32, b: f32, c: f32) -> f32;
    #[link_name = "llvm.nvvm.ex2.approx.ftz.f"]
    fn ex2_approx_ftz_f32(x: f32) -> f32;
    #[link_name = "llvm.nvvm.lg2.approx.ftz.f"]
    fn lg2_approx_ftz_f32(x: f32) -> f32;
    #[link_name = "llvm.nvvm.rcp.approx.ftz.f"]
    fn rcp_approx_ftz_f32(x: f32) -> f32;
}

/// a * b + c, rounded once: `fma.rn.f32`. Rust never contracts `a * b + c` by itself.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { fma_rn_f32(a, b, c) }
}

/// 2^x, relative error 2^-22; subnormal inputs and results are 0: `ex2.approx.ftz.f32`.
///
/// The form without `.ftz` costs a comparison and two multiplications more.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { ex2_approx_ftz_f32(x) }
}

/// log2 x, absolute error 2^-22 between 1/2 and 2 and relative error 2^-22 elsewhere: `lg2.approx.ftz.f32`.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { lg2_approx_ftz_f32(x) }
}

/// 1 / x, 1 ulp: `rcp.approx.ftz.f32`.
#[inline(always)]
pub fn reciprocal(x: f32) -> f32 {
    // SAFETY: registers only.
    unsafe { rcp_approx_ftz_f32(x) }
}
