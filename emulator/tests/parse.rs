//! Which instructions the front end accepts and refuses, for which targets, with the lines of its errors. What stands
//! around them is in `modules.rs`.

use ptx_emulator::{Module, PtxError, PtxErrorKind};

/// A module whose kernel declares registers and variables of every kind and then runs `body`, which starts on line
/// [`BODY_LINE`].
fn module(target: &str, version: &str, body: &str) -> String {
    format!(
        "// a kernel around a few instructions\n.version {version}\n.target {target}\n.address_size 64\n\
         .extern .shared .align 16 .b8 sm_dyn[];\n.shared .align 16 .b8 sm_st[64];\n\
         .global .align 16 .b8 gbl[64];\n.const .align 4 .f32 ctab[2] = {{1.5, 0f40000000}};\n\
         .func (.param .b32 devf_result) devf(.param .b32 devf_param)\n\
         {{ .reg .b32 %a<2>; ld.param.b32 %a1, [devf_param]; st.param.b32 [devf_result], %a1; ret; }}\n\
         .func (.reg .b32 regf_result) regf(.reg .b32 regf_param) {{ add.s32 regf_result, regf_param, 1; ret; }}\n\
         .visible .entry k(.param .u64 .ptr .global .align 16 p0, .param .b8 pb, .param .align 64 .b8 tmap[128])\n\
         {{\n.reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<40>; .reg .f32 %f<9>; .reg .f64 %d<9>; .reg .b64 %rd<9>;\n\
         .local .align 16 .b8 loc[32];\n{body}\nret;\n}}\n"
    )
}

const BODY_LINE: u32 = 16;

fn parse(target: &str, version: &str, body: &str) -> Result<Module, PtxError> {
    Module::parse(&module(target, version, body))
}

/// Instructions that sm_75 with PTX 7.8 has.
const SM_75: &str = r#"
mov.b32 %r1, 0f3F800000;
mov.b64 %rd1, 0d3FF0000000000000;
mov.b32 %f1, %r1;
mov.f32 %f1, -1.5;
add.rn.f32 %r3, %r1, %r2;
add.rn.f16 %h1, %h2, %h3;
ld.global.b32 %rd3, [%rd0];
ld.global.u8 %r3, [%rd0];
ld.global.s8 %rd3, [%rd0];
ld.param.b8 %h1, [pb];
ld.param.u64 %rd1, [p0];
st.global.b8 [%rd0], 0;
st.global.b32 [%rd0+-4], %r1;
prmt.b32 %r1, %r2, 0, 0x123U;
prmt.b32.f4e %r1, %r2, %r3, %r4;
mov.b64 {%r1,%r2}, %rd1;
mov.b64 {%r1,_}, %rd1;
mov.b64 %rd1, {%h1,%h2,%h3,%h4};
mov.b32 {%h1,%h2}, %r1;
mov.b32 %r1, {%h1,%h2};
ld.global.nc.v4.b32 {%r1,%r2,%r3,%r4}, [%rd0];
ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%r1,%r2,%r3,%r4}, [%rd0];
ld.global.L1::no_allocate.v4.f32 {%f1,%f2,%f3,%f4}, [%rd0];
ld.volatile.global.b32 %r1, [%rd0];
ld.global.volatile.b32 %r1, [%rd0];
ld.relaxed.gpu.global.b32 %r1, [%rd0];
ld.acquire.sys.global.b32 %r1, [%rd0];
ld.global.acquire.gpu.b32 %r1, [%rd0];
st.release.gpu.global.b32 [%rd0], %r1;
st.global.cs.v2.b64 [%rd0], {%rd1,%rd2};
ld.global.cg.b32 %r1, [%rd0];
ld.shared.v4.f32 {%f1,%f2,%f3,%f4}, [sm_st];
ld.shared::cta.b32 %r1, [sm_st+4];
ld.shared.b32 %r1, [%r2+8];
ld.shared.b32 %r1, [16];
ld.const.f32 %f1, [ctab+4];
ld.b32 %r1, [%rd1];
cvta.shared.u64 %rd1, sm_st;
cvta.to.shared.u64 %rd1, %rd2;
cvta.to.global.u64 %rd1, %rd2;
cvta.param.u64 %rd1, tmap;
mov.b64 %rd1, tmap;
isspacep.shared %p1, %rd1;
cvt.f32.f16 %f1, %h1;
cvt.rn.f16.f32 %h1, %f1;
cvt.rzi.ftz.s32.f32 %r1, %f1;
cvt.rni.sat.u8.f32 %r1, %f1;
cvt.sat.s8.s32 %r1, %r2;
cvt.rn.sat.f32.s32 %f1, %r1;
cvt.rn.f32.u64 %f1, %rd1;
cvt.rm.f32.s32 %f1, %r1;
cvt.rpi.f32.f32 %f1, %f2;
cvt.s64.s32 %rd1, %r1;
cvt.u16.u32 %h1, %r1;
cvt.s8.s32 %rd1, %r1;
cvt.u32.s8 %rd1, %r1;
cvt.f64.f32 %d1, %f1;
ex2.approx.f32 %f1, %f2;
ex2.approx.ftz.f32 %f1, %f2;
ex2.approx.f16x2 %r1, %r2;
lg2.approx.f32 %f1, %f2;
rcp.approx.ftz.f32 %f1, %f2;
rcp.rn.f32 %f1, %f2;
rsqrt.approx.f32 %f1, %f2;
sqrt.rn.f32 %f1, %f2;
sqrt.approx.f32 %f1, %f2;
div.full.f32 %f1, %f2, %f3;
div.approx.f32 %f1, %f2, %f3;
div.rn.f32 %f1, %f2, %f3;
div.rn.f64 %d1, %d2, %d3;
tanh.approx.f32 %f1, %f2;
sin.approx.f32 %f1, %f2;
fma.rn.f16x2 %r1, %r2, %r3, %r4;
fma.rz.ftz.sat.f32 %f1, %f2, %f3, %f4;
mad.rn.f32 %f1, %f2, %f3, %f4;
add.f16x2 %r1, %r2, %r3;
max.f32 %f1, %f2, %f3;
neg.f16x2 %r1, %r2;
abs.f32 %f1, %f2;
setp.lt.and.f32 %p1|%p2, %f1, %f2, !%p3;
setp.lt.f16x2 %p1|%p2, %r1, %r2;
setp.eq.b64 %p1, %rd1, 0;
setp.nan.f64 %p1, %d1, %d2;
set.gt.u32.f32 %r1, %f1, %f2;
set.gtu.f16x2.f16x2 %r1, %r2, %r3;
selp.f32 %f1, %f2, %f3, %p1;
selp.b32 %f1, %f2, %f3, %p1;
slct.f32.s32 %f1, %f2, %f3, %r1;
lop3.b32 %r1, %r2, %r3, %r4, 0x96;
shf.l.wrap.b32 %r1, %r2, %r3, %r4;
shf.r.clamp.b32 %r1, %r2, %r3, %r4;
bfe.u32 %r1, %r2, %r3, %r4;
bfe.s64 %rd1, %rd2, %r3, %r4;
bfi.b64 %rd1, %rd2, %rd3, %r1, %r2;
bmsk.clamp.b32 %r1, %r2, %r3;
szext.wrap.s32 %r1, %r2, %r3;
mad.wide.u32 %rd1, %r1, %r2, %rd2;
mad.hi.sat.s32 %r1, %r2, %r3, %r4;
mul24.lo.s32 %r1, %r2, %r3;
mad24.lo.u32 %r1, %r2, %r3, %r4;
mul.wide.s16 %r1, %h1, %h2;
mul.hi.u64 %rd1, %rd2, %rd3;
add.cc.s64 %rd1, %rd2, %rd3; addc.cc.s64 %rd1, %rd2, %rd3; subc.s64 %rd1, %rd2, %rd3;
mad.lo.cc.u32 %r1, %r2, %r3, %r4; madc.hi.u32 %r1, %r2, %r3, %r4;
dp4a.s32.s32 %r1, %r2, %r3, %r4;
dp2a.lo.u32.s32 %r1, %r2, %r3, %r4;
bfind.shiftamt.u32 %r1, %r2;
popc.b64 %r1, %rd1;
brev.b64 %rd1, %rd2;
fns.b32 %r1, %r2, %r3, %r4;
copysign.f32 %f1, %f2, %f3;
testp.infinite.f32 %p1, %f1;
add.sat.s32 %r1, %r2, %r3;
add.sat.f32 %f1, %f2, %f3;
sad.u16 %h1, %h2, %h3, %h4;
div.s16 %h1, %h2, %h3;
rem.u64 %rd1, %rd2, %rd3;
cnot.b32 %r1, %r2;
shl.b64 %rd1, %rd2, %r1;
shr.s16 %h1, %h2, 3;
TT: .branchtargets TT0, TT1; brx.idx %r0, TT; TT0: ret; TT1: ret;
@!%p1 bra.uni LX; LX:
{ .param .b32 pa; .param .b32 rr; st.param.b32 [pa], %r1; call.uni (rr), devf, (pa); ld.param.b32 %r2, [rr]; }
{ .reg .b32 rr; call (rr), devf, (5); }
@%p1 call (%r1), regf, (%r2);
trap; exit; .pragma "nounroll";
mov.u64 %rd1, %clock64;
mov.u64 %rd1, %globaltimer;
mov.u32 %r1, %tid.x;
mov.u32 %r1, %smid;
mov.u32 %r1, %warpid;
mov.u32 %r1, %lanemask_lt;
mov.u32 %r1, %dynamic_smem_size;
nanosleep.u32 100;
prefetch.global.L2 [%rd0];
activemask.b32 %r1;
mov.b32 %r1, WARP_SZ;
ld.local.v4.b32 {%r1,%r2,%r3,%r4}, [loc];
ld.global.b32 %r1, [gbl+16];
mov.b64 %rd1, gbl+8;
mov.b32 %r1, sm_dyn;
mov.u32 %r1, sm_dyn+16;
and.pred %p1, %p2, 1;
mov.pred %p1, -1;
not.pred %p1, %p2;
cvt.u32.u64 %r1, %rd1;
shfl.sync.idx.b32 %r1, %r2, %r3, 0x1f, 0xffffffff;
shfl.sync.up.b32 %r1|%p1, %r2, 1, 0, 0xffffffff;
shfl.sync.bfly.b32 %f1, %f2, 16, 31, -1;
vote.sync.ballot.b32 %r1, %p1, -1;
vote.sync.all.pred %p1, !%p2, %r1;
match.any.sync.b32 %r1, %r2, -1;
match.all.sync.b64 %r1|%p1, %rd1, -1;
bar.warp.sync -1;
bar.sync 0;
bar.sync 1, 64;
bar.sync %r1, %r2;
bar.arrive 1, 64;
barrier.sync 0;
barrier.sync.aligned 1, 128;
barrier.cta.sync 1, 96;
bar.red.popc.u32 %r1, 0, %p1;
bar.red.and.pred %p1, 0, %p2;
barrier.cta.red.or.pred %p1, 1, 64, !%p2;
membar.gl;
fence.acq_rel.gpu;
fence.sc.cta;
atom.global.add.f32 %f1, [%rd0], %f2;
atom.add.noftz.f16x2 %r1, [%rd0], %r2;
red.global.add.f32 [%rd0], %f1;
atom.global.cas.b16 %h1, [%rd0], %h2, %h3;
atom.global.cas.b64 %rd1, [%rd0], %rd2, %rd3;
atom.global.exch.b32 %r1, [%rd0], %r2;
atom.global.inc.u32 %r1, [%rd0], %r2;
atom.global.min.s32 %r1, [%rd0], %r2;
atom.shared.add.u32 %r1, [sm_st], 1;
atom.acq_rel.gpu.global.add.u32 %r1, [%rd0], 1;
red.release.gpu.global.add.u32 [%rd0], 1;
atom.global.add.f64 %d1, [%rd0], %d2;
atom.add.u32 _, [%rd0], 1;
ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r2];
ldmatrix.sync.aligned.x4.m8n8.shared.b16 {%r1,%r2,%r3,%r4}, [%r5];
ldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 {%r1,%r2}, [%r5];
ldmatrix.sync.aligned.m8n8.x4.trans.b16 {%r1,%r2,%r3,%r4}, [%rd1];
movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r2;
mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%r1,%r2}, {%r3}, {%f0,%f1,%f2,%f3};
mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r8,%r9}, {%r1,%r2}, {%r3}, {%r8,%r9};
"#;

/// Instructions that sm_80 adds.
const SM_80: &str = r#"
cvt.rn.bf16x2.f32 %r1, %f1, %f2;
cvt.rn.relu.bf16x2.f32 %r1, %f1, %f2;
cvt.rz.f16x2.f32 %r1, %f1, %f2;
cvt.rn.bf16.f32 %h1, %f1;
cvt.f32.bf16 %f1, %h1;
cvt.rn.satfinite.f16.f32 %h1, %f1;
fma.rn.relu.bf16x2 %r1, %r2, %r3, %r4;
max.NaN.f32 %f1, %f2, %f3;
max.f16x2 %r1, %r2, %r3;
max.NaN.bf16x2 %r1, %r2, %r3;
neg.bf16x2 %r1, %r2;
lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0x3f, %p2;
discard.global.L2 [%rd0], 128;
createpolicy.fractional.L2::evict_first.b64 %rd1, 1.0;
redux.sync.add.u32 %r1, %r2, -1;
redux.sync.xor.b32 %r1, %r2, -1;
cp.async.ca.shared.global [%r1], [%rd0], 4;
cp.async.cg.shared.global.L2::128B [%r1], [%rd0], 16;
cp.async.cg.shared.global [%r1], [%rd0], 16, %r2;
cp.async.cg.shared.global [%r1], [%rd0], 16, %p1;
cp.async.cg.shared::cta.global.L2::cache_hint [%r1], [%rd0], 16, %rd1;
cp.async.commit_group;
cp.async.wait_group 1;
cp.async.wait_all;
mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%f0,%f1,%f2,%f3};
mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r8,%r9}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%r8,%r9};
mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r20,%r21,%r22,%r23}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%r20,%r21,%r22,%r23};
mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3}, {%r1,%r2}, {%r3}, {%f0,%f1,%f2,%f3};
"#;

fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.is_empty())
}

#[test]
fn every_listed_instruction_of_sm_75_is_decoded() {
    for line in lines(SM_75) {
        // The two forms of lop3 and bmsk came with PTX 7.6 and 8.2; 8.2 has all of the list.
        if let Err(error) = parse("sm_75", "8.2", line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn every_listed_instruction_of_sm_80_is_decoded_and_refused_for_sm_75() {
    for line in lines(SM_80) {
        if let Err(error) = parse("sm_80", "8.2", line) {
            panic!("{line}: {error}");
        }
        if line.contains("lop3") {
            continue; // sm_70 has it
        }
        let error = parse("sm_75", "8.2", line).expect_err(line);
        assert!(
            matches!(error.kind, PtxErrorKind::Target { .. }),
            "{line}: {error}"
        );
        assert_eq!(error.line, BODY_LINE, "{line}");
    }
}

#[test]
fn warpgroup_instructions_are_decoded_for_sm_90a_alone() {
    let bodies = [
        "setmaxnreg.inc.sync.aligned.u32 240;",
        "setmaxnreg.dec.sync.aligned.u32 24;",
        "wgmma.fence.sync.aligned;",
        "wgmma.commit_group.sync.aligned;",
        "wgmma.wait_group.sync.aligned 7;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},%rd1,%rd2,%p1,1,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},%rd1,%rd2,1,1,-1,0,1;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f0,%f1,%f2,%f3},{%r1,%r2,%r3,%r4},%rd2,%p1,1,1,1;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f16.f16.f16 {%r10,%r11},%rd1,%rd2,0,1,1,0,0;",
    ];
    for body in bodies {
        if let Err(error) = parse("sm_90a", "8.0", body) {
            panic!("{body}: {error}");
        }
        for (target, version) in [("sm_90", "8.0"), ("sm_100a", "8.6"), ("sm_90a", "7.8")] {
            let error = parse(target, version, body).expect_err(body);
            let is_target = matches!(error.kind, PtxErrorKind::Target { .. });
            assert!(is_target, "{target} {version} {body}: {error}");
        }
    }
}

#[test]
fn warpgroup_instructions_that_the_assembler_rejects_are_rejected() {
    for body in [
        "setmaxnreg.dec.sync.aligned.u32 20;",
        "setmaxnreg.inc.sync.aligned.u32 260;",
        "wgmma.wait_group.sync.aligned %r1;",
        "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},%rd1,%rd2,0,1,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},%rd1,%rd2,0,1,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f2},%rd1,%rd2,0,1,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},%rd1,%rd2,0,2,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f16.bf16.bf16 {%r10,%r11},%rd1,%rd2,0,1,1,0,0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3},{%r1,%r2,%r3,%r4},%rd2,0,1,1,0,0;",
    ] {
        let error = parse("sm_90a", "8.0", body).expect_err(body);
        assert_eq!(error.line, BODY_LINE, "{body}: {error}");
    }
}

#[test]
fn integer_pairs_and_relu_came_with_sm_90_and_ptx_8_0() {
    for body in [
        "add.u16x2 %r1, %r2, %r3;",
        "min.s16x2 %r1, %r2, %r3;",
        "max.relu.s16x2 %r1, %r2, %r3;",
        "min.relu.s32 %r1, %r2, %r3;",
    ] {
        if let Err(error) = parse("sm_90", "8.0", body) {
            panic!("{body}: {error}");
        }
        for (target, version) in [("sm_89", "8.0"), ("sm_90", "7.8")] {
            let error = parse(target, version, body).expect_err(body);
            let is_target = matches!(error.kind, PtxErrorKind::Target { .. });
            assert!(is_target, "{target} {version} {body}: {error}");
        }
    }
}

#[test]
fn instructions_newer_than_the_version_are_refused() {
    let error = parse("sm_80", "6.5", "redux.sync.add.u32 %r1, %r2, -1;").unwrap_err();
    assert!(matches!(error.kind, PtxErrorKind::Target { .. }), "{error}");
}

#[test]
fn legal_instructions_without_an_implementation_are_unsupported_with_their_line() {
    let bodies = [
        "\n\ntensormap.replace.tile.global_address.global.b1024.b64 [%rd1], %rd2;",
        "\n\nst.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r1], %r2, [%r3];",
        "\n\nfence.proxy.alias;",
        "\n\nfence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;",
        "\n\ncvt.rna.tf32.f32 %r1, %f1;",
        "\n\ncvt.pack.sat.s8.s32.b32 %r1, %r2, %r3, %r4;",
        "\n\nmma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r10,%r11}, {%r1}, {%r2}, {%r10,%r11};",
        "\n\nred.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r1], %r2, [%r3];",
        "\n\nalloca.u64 %rd1, %rd2, 16;",
        "\n\nmov.u64 %rd1, devf;",
        "\n\ncall %rd1, (), PROTO;",
        "\n\nmul24.hi.s32 %r1, %r2, %r3;",
        "\n\n.reg .b128 %q1;",
    ];
    for body in bodies {
        let error = parse("sm_90a", "8.7", body).expect_err(body);
        assert!(
            matches!(error.kind, PtxErrorKind::Unsupported { .. }),
            "{body}: {error}"
        );
        assert_eq!(error.line, BODY_LINE + 2, "{body}: {error}");
    }
}

#[test]
fn what_the_assembler_rejects_is_rejected() {
    let bodies = [
        "max.f32 %f1, %f2, %f3, %f4;",
        "brx.idx %r0, TS; TS0: ret; TS1: ret; TS: .branchtargets TS0, TS1;",
        "st.shared.b32 [sm_dyn+%r1], %r2;",
        "st.param.b32 [pb], %r1;",
        "vote.ballot.b32 %r1, %p1;",
        "redux.sync.max.f32 %r1, %r2, -1;",
        "bar.sync 16;",
        "bar.sync 1, 33;",
        "atom.global.max.f32 %f1, [%rd0], %f2;",
        "cp.async.cg.shared.global [%r1], [%rd0], 8;",
        "add.s32 %r1, %r2, %rd3;",
        "add.s32 %r1, %r2, %p3;",
        "add.s32 %r1, %r2, 1.5;",
        "add.s32 %r1, %r2, %r99;",
        "add.s32 5, %r2, %r3;",
        "ld.global.b64 %r1, [%rd0];",
        "ld.global.b32 %r1, [%r0];",
        "ld.global.b32 %r1, [sm_st];",
        "cvt.rn.s32.f32 %r1, %f1;",
        "cvt.f16.f32 %h1, %f1;",
        "shl.b32 %r1, %r2;",
        "bra nowhere;",
        "frobnicate.b32 %r1;",
        "min.relu.u32 %r1, %r2, %r3;",
        "sub.u16x2 %r1, %r2, %r3;",
        "add.s32.frob %r1, %r2, %r3;",
        ".reg .b32 %x; .reg .b32 %x;",
        "A: A:",
    ];
    for body in bodies {
        let error = parse("sm_80", "8.2", body).map(|_| ()).expect_err(body);
        assert_eq!(error.line, BODY_LINE, "{body}: {error}");
    }
}
