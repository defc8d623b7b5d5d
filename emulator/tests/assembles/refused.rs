//! Forms that look like PTX and are none: the decoder names the rule, and ptxas refuses them too.

use ptx_emulator::Module;

/// A form, and what the error must say of it.
const REFUSED: &[(&str, &str)] = &[
    ("setp.lt.f16 p0|p1, h0, h1", "gives one predicate"),
    ("setp.lt.and.bf16 p0|p1, h0, h1, p2", "gives one predicate"),
    ("setp.lt.ftz.bf16x2 p0|p1, r0, r1", ".ftz is for"),
    ("set.lt.u16.u32 h0, r1, r2", "no such pair of types"),
    ("set.lt.ftz.bf16.f32 h0, r1, r2", "no .ftz"),
    ("selp.f16 h0, h1, h2, p0", "selected as .b16"),
    ("slct.bf16x2.s32 r0, r1, r2, r3", "selected as .b16"),
    ("cvt.rn.bf16.s16 h0, r1", "register of 16 bits"),
    ("cvt.rzi.u8.bf16 r0, h1", "register of 8 bits"),
    ("cvt.rn.sat.bf16.u32 h0, r1", ".sat is not for .bf16"),
    ("cvt.sat.s32.u16 r0, h1", "leave .sat out"),
    ("cvt.rn.f64.f32 d0, r1", "nothing is rounded"),
    ("cvt.rni.f32.f16 r0, h1", "within one type"),
    ("cvt.rm.relu.f16.f32 h0, r1", "go with .rn or .rz"),
    ("cvt.rn.f32.u32 r0, %tid.x", "mov and cvt only"),
    ("lop3.xor.b32 r0|p0, r1, r2, r3, 3, p1", "xor.pred"),
    ("lop3.and.b32 r0, r1, r2, r3, 3, p1", "d|p comes with"),
    ("mad.lo.u32 r0, r1, 4, tile", "the address of tile"),
    ("add.u32 r0, r1, %laneid", "%laneid is read by"),
    ("add.f32 r0, r1, WARP_SZ", "constant of type F32"),
    ("mov.u64 d0, %laneid", "has 32 bits"),
    ("mov.u64 d0, {r0, r1}", "as .b32 or .b64"),
    ("mov.bf16 h0, h1", "no 16-bit floats"),
    ("cvta.global.u64 d0, tile", "tile lies in Shared"),
    ("add.s32 r0, single, r1", "declared as float"),
    ("add.f32 single, r0, int32", "declared as integer"),
    ("st.global.u32 [d1], single", "declared as float"),
    ("add.sat.cc.s32 r0, r1, r2", "exclude each other"),
    ("fma.rn.sat.relu.f16 h0, h1, h2, h3", "exclude each other"),
    ("mad.rn.f16 h0, h1, h2, h3", "use fma"),
    ("ex2.approx.bf16 h0, h1", ".ftz form only"),
    ("ex2.approx.ftz.f16 h0, h1", "no .ftz"),
    ("bfe.u32 r0, r1, 256, 3", "use 0 to 255"),
    ("ld.relaxed.global.b32 r0, [d1]", "come together"),
    ("ld.gpu.global.b32 r0, [d1]", "come together"),
    ("ld.volatile.const.b32 r0, [d1]", "an order is for"),
    (
        "ld.volatile.global.cs.b32 r0, [d1]",
        "cache operator is for weak",
    ),
    ("ld.weak.global.nc.b32 r0, [d1]", "without an order"),
    (
        "ld.shared.L1::evict_last.b32 r0, [d1]",
        "hints are for .global",
    ),
    ("ld.global.L2::cache_hint.b32 r0, [d1]", "a policy operand"),
    ("ld.param::func.b32 r0, [out]", "a parameter of a call"),
    (
        "atom.volatile.global.add.u32 r0, [d1], r2",
        "neither .weak nor",
    ),
    ("red.acquire.gpu.global.add.u32 [d1], r2", "use atom"),
    ("prefetch.global [d1]", ".L1 .L2 .L2::evict_last"),
    ("discard.global.L2 [d1], 64", "the size is 128"),
    ("shfl.sync.idx.b32 _|p0, r1, r2, r3, r4", "cannot be `_`"),
    ("match.any.sync.b32 r0|p0, r1, -1", "gives one value"),
    (
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 r0, [d1]",
        "1 registers in braces",
    ),
    (
        "mbarrier.arrive.release.shared.b64 d0, [d1]",
        "come together",
    ),
    (
        "mbarrier.arrive.noComplete.relaxed.cta.b64 d0, [d1], 1",
        ".release.cta",
    ),
    ("mbarrier.init.shared::cluster.b64 [d1], 1", "own block"),
    (
        "mma.sync.aligned.m16n8k8.col.row.f16.f16.f16.f16 {r0, r1}, {r2, r3}, {r4}, {r5, r6}",
        "in this order",
    ),
    (
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.and.b64 [d0], [d1], 16, [d2]",
        "32-bit integers",
    ),
];

#[test]
fn forms_that_the_isa_does_not_have_are_refused_with_their_rule() {
    let ptxas = super::ptxas();
    let mut wrong = String::new();
    for &(form, rule) in REFUSED {
        let text = super::module(("8.6", "sm_90a"), &[form.to_string()]);
        match Module::parse(&text) {
            Err(error) if error.to_string().contains(rule) => {}
            Err(error) => wrong += &format!("{form} should say {rule}: {error}\n"),
            Ok(_) => wrong += &format!("{form} is taken\n"),
        }
        if let Some(ptxas) = &ptxas
            && super::refused(ptxas, "sm_90a", &text, "refused").is_empty()
        {
            wrong += &format!("{form} is taken by ptxas\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
