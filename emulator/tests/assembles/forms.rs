//! What is tried: patterns of instructions, far more than there are.
//!
//! `(a/b/)` stands for a, b or nothing; `$name` for a list below.

/// Lists that patterns share.
const LISTS: &[(&str, &str)] = &[
    (
        "$any",
        "(pred/b8/b16/b32/b64/u8/u16/u32/u64/s8/s16/s32/s64/f16/f16x2/bf16/bf16x2/f32/f64)",
    ),
    (
        "$number",
        "(u8/u16/u32/u64/s8/s16/s32/s64/f16/bf16/f32/f64)",
    ),
    ("$round", "(/.rn/.rz/.rm/.rp)"),
    ("$integral", "(/.rni/.rzi/.rmi/.rpi)"),
    ("$2", "(h0, h1/r0, r1/d0, d1/p0, p1)"),
    ("$3", "(h0, h1, h2/r0, r1, r2/d0, d1, d2/p0, p1, p2)"),
    ("$4", "(h0, h1, h2, h3/r0, r1, r2, r3/d0, d1, d2, d3)"),
    ("$reg", "(q0/h0/r0/d0)"),
    ("$typed", "(int16/int32/int64/half/half2/single/double)"),
    (
        "$source",
        "(3/-1/1.5/0f3f800000/0d3ff0000000000000/tile/tile+4/variable/table/stack/out/WARP_SZ/%tid.x/%laneid/%gridid/%clock/%clock64)",
    ),
    (
        "$cmp",
        "(eq/ne/lt/le/gt/ge/lo/ls/hi/hs/equ/neu/ltu/leu/gtu/geu/num/nan)",
    ),
    (
        "$space",
        "(/.global/.shared/.shared::cta/.shared::cluster/.local/.const/.param/.param::entry/.param::func)",
    ),
    (
        "$order",
        "(/.weak/.volatile/.relaxed/.acquire/.release/.acq_rel)",
    ),
    ("$scope", "(/.cta/.cluster/.gpu/.sys)"),
    ("$window", "(/.shared/.shared::cta/.shared::cluster)"),
    ("$bulk", "(global/shared::cta/shared::cluster)"),
    ("$lanes", "({r0}/{r0, r1}/{r0, r1, r2, r3}/r0)"),
    (
        "$place",
        "([r1]/[d1]/[d1+4]/[tile]/[variable]/[table]/[stack]/[out])",
    ),
];

/// Everything that the decoder has a branch for, and more.
const PATTERNS: &[&str] = &[
    "(add/sub/mul)$round(/.lo/.hi)(/.ftz)(/.sat)(/.cc).$any $3",
    "(mul.wide.$any/mul24(.lo/.hi).$any) (r0, h0, h1/d0, r0, r1/r0, r1, r2/d0, d1, d2)",
    "(addc/subc)(/.cc)(/.sat).$any $3",
    "(min/max)(/.ftz)(/.NaN)(/.xorsign.abs)(/.relu).$any $3",
    "(div/rem/copysign)($round/.full/.approx)(/.ftz).$any $3",
    "(fma/mad)$round(/.lo/.hi)(/.ftz)(/.sat)(/.relu)(/.cc).$any $4",
    "(mad.wide(/.cc)/mad24(.lo/.hi)(/.sat)).$any (r0, h0, h1, r2/d0, r0, r1, d1/r0, r1, r2, r3)",
    "(madc(.lo/.hi)(/.cc)/sad).$any $4",
    "(neg/abs)(/.ftz).$any $2",
    "(rcp/sqrt/rsqrt/ex2/lg2/sin/cos/tanh)($round/.approx)(/.ftz).$any $2",
    "(and/or/xor).$any $3",
    "(not/cnot).$any $2",
    "(shl/shr).$any (h0, h1, r0/r0, r1, r2/d0, d1, r0)",
    "shf(.l/.r)(/.clamp/.wrap).(b32/b64/u32) $4",
    "lop3(/.and/.or/.xor).b32 (r0/r0|p0/_|p0), r1, r2, r3, (0x96/256)(/, p1/, !p1)",
    "(popc/clz/bfind/brev)(/.shiftamt).$any (h0, h1/r0, h0/r0, r1/r0, d1/d0, d1)",
    "(bfe/bfi).$any (r0, r1, /d0, d1, )(/r2, /d2, )r3, r4",
    "(bmsk/szext)(/.clamp/.wrap).$any $3",
    "fns.$any $4",
    "prmt.(b32/u32)(/.f4e/.b4e/.rc8/.ecl/.ecr/.rc16) $4",
    "(dp4a/dp2a)(/.lo/.hi).(u32/s32/b32).(u32/s32) $4",
    "setp.$cmp(/.and/.or/.xor)(/.ftz).$any (p0/p0|p1/_|p1), (h0, h1/r0, r1/d0, d1)(/, p2/, !p2)",
    "set.(eq/lt/lo/equ/nan)(/.and)(/.ftz).$any.$any (h0/r0/d0), (h1, h2/r1, r2/d1, d2)(/, p2)",
    "selp.$any $3, p3",
    "slct(/.ftz).$any.(s32/u32/f32) $3, r4",
    "testp.(finite/infinite/number/notanumber/normal/subnormal).$any p0, (h1/r1/d1)",
    "mov.$any ($2/(r0/d0/h0/p0), $source)",
    "mov.$any (r0/d0), ({h0, h1}/{r0, r1}/{h0, h1, h2, h3}/{q0, q1})",
    "mov.$any ({h0, h1}/{r0, r1}/{h0, h1, h2, h3}/{_, r1}/{q0, q1}), (r5/d5)",
    "cvt($round/$integral).$number.$number $reg, $reg",
    "cvt(/.rn/.rz/.rzi)(.ftz/.sat/.ftz.sat/.relu/.satfinite).$number.$number $reg, $reg",
    "cvt(/.rn/.rz/.rm)(/.relu)(/.satfinite).(f16x2/bf16x2).f32 r0, r1, r2",
    "cvt.rn.satfinite.relu.(f16x2/bf16x2).f32 r0, r1, r2",
    "cvta(/.to)$space.(u32/u64) (r0, r1/d0, d1/d0, tile/d0, variable/d0, out)",
    "isspacep$space p0, (r1/d1)",
    "(mapa/getctarank)$window.(u32/u64) (r0/d0), (r1/d1)(/, r2/, 1/, tile)",
    // One dimension at a time for memory.
    "(ld/st)$order$scope$space(/.nc).(b32/f32/u8/b64) (r0, $place/$place, r0)",
    "(ld/st)$space(/.v2/.v4/.v8).$any ($reg, [d1]/{h0, h1}, [d1]/{r0, r1}, [d1]/{d0, d2}, [d1]/{r0, r1, r2, r3}, [d1])",
    "(ld/st)$space(/.v2/.v4/.v8).$any ([d1], $reg/[d1], {h0, h1}/[d1], {r0, r1}/[d1], {d0, d2}/[d1], {r0, r1, r2, r3}/[d1], 3/[d1], 1.5)",
    "(ld/st)(/.relaxed.gpu/.volatile)(/.global/.shared)(/.nc)(/.ca/.cg/.cs/.lu/.cv/.wb/.wt)(/.L1::evict_last/.L1::no_allocate)(/.L2::cache_hint)(/.L2::64B/.L2::128B/.L2::256B).b32 (r0, [d1]/[d1], r0)(/, d2)",
    "(atom/red)$order$scope$space.(add/and/exch/cas).(u32/b32) (/r0, )[d1], r1(/, r2)",
    "(atom/red)(/.global/.shared/.shared::cluster).(add/and/or/xor/exch/cas/inc/dec/min/max)(/.noftz).$any ((/h0, )[d1], h1(/, h2)/(/r0, )[d1], r1(/, r2)/(/d0, )[d1], d2(/, d3))",
    "(atom/red).global.(add/min/max/exch)(/.noftz)(/.v2/.v4/.v8).(f32/f16/f16x2/bf16/bf16x2) ((/{r0, r1}, )[d1], {r2, r3}/(/{h0, h1}, )[d1], {h2, h3}/(/{h0, h1, h2, h3, h4, h5, h6, h7}, )[d1], {h2, h3, h4, h5, h6, h7, h0, h1})",
    "(atom/red)(/.global)(/.relaxed.gpu).add(/.L2::cache_hint/.L1::evict_last).u32 (/r0, )[d1], r1(/, d2)",
    "fence(/.sc/.acq_rel/.acquire/.release)$scope",
    "membar(.cta/.gl/.sys/.gpu)",
    "fence(/.proxy).async(/.global/.shared::cta/.shared::cluster/.shared)",
    "fence.mbarrier_init(/.release).cluster",
    "(prefetch/prefetchu/applypriority/discard)(/.tensormap)$space(/.L1/.L2/.L2::evict_last/.L2::evict_normal) [d1](/, 128)",
    "createpolicy.fractional(/.L2::evict_first/.L2::evict_last/.L2::evict_normal/.L2::evict_unchanged/.L1::evict_last)(/.L2::evict_unchanged).b64 d0(/, r1/, 0.5)",
    "cp.async(.ca/.cg)(.shared/.shared::cta/.shared::cluster).global(/.L2::cache_hint)(/.L2::128B/.L1::evict_last/.cg) [(r0/d0)], [d1], (4/8/16)(/, r2/, p1/, !p1/, 4)(/, d2)",
    "cp.async.(commit_group/wait_all/wait_group(/ 0/ 7/ 100))",
    "cp.async.mbarrier.arrive(/.noinc)$window.b64 [(r0/d0)]",
    "cp.async.bulk.(commit_group/wait_group(/.read) (0/100))",
    "cp(/.reduce).async.bulk.$bulk.$bulk.(mbarrier::complete_tx::bytes/bulk_group)(/.multicast::cluster)(/.L2::cache_hint) [d0], [d1], r2(/, [d3])(/, h4)(/, d5)",
    "cp.reduce.async.bulk.(global/shared::cluster).shared::cta.(mbarrier::complete_tx::bytes/bulk_group)(/.L2::cache_hint).(add/min/max/inc/dec/and/or/xor)(/.noftz).$any [d0], [r1], r2(/, [d3])(/, d5)",
    "cp(/.reduce).async.bulk.tensor.(1d/2d)(/.tile).$bulk.$bulk(/.add/.min/.inc/.and)(/.tile).(mbarrier::complete_tx::bytes/bulk_group)(/.multicast::cluster)(/.L2::cache_hint) ([d0], [d1, {r0(/, r1)}]/[d1, {r0(/, r1)}], [d0])(/, [d3])(/, h4)(/, d5)",
    "cp.async.bulk.prefetch(/.tensor.2d(/.tile)).L2.global(/.L2::cache_hint) ([d1], r0/[d1, {r0, r1}])(/, d5)",
    "mbarrier.(init/inval/pending_count)$window.b64 ([d1](/, r1/, 4)/r0, d0)",
    "mbarrier.(expect_tx/complete_tx)(/.relaxed/.release)(/.cta/.cluster)$window.b64 [d1], r1",
    "mbarrier.(arrive/arrive_drop)(/.expect_tx)(/.noComplete)(/.relaxed/.release)(/.cta/.cluster)$window.b64 (/d0, /_, )[d1](/, r1/, 4)",
    "mbarrier.(test_wait/try_wait)(/.parity)(/.relaxed/.acquire)(/.cta/.cluster)$window.b64 p0, [d1], (r1/d0)(/, 100)",
    "shfl(/.sync)(.up/.down/.bfly/.idx).(b32/u32/f32) (r0/r0|p0/_|p0/_), (r1/3/p1), (r2/3), (r3/0x1f), (r4/-1)",
    "vote(/.sync).(all/any/uni/ballot).(pred/b32) (p0/r0), (p1/!p1/r1), (r4/-1)",
    "match(.any/.all).sync.(b32/b64/u32) (r0/r0|p0/_|p0/_), (r1/d1/3), (r4/-1)",
    "redux.sync.(add/min/max/and/or/xor).$any r0, (r1/3), (r4/-1)",
    "elect.sync (r0/r0|p0/_|p0), (r4/-1)",
    "activemask.(b32/u32) r0",
    "(bar/barrier)(/.cta).(sync/arrive)(/.aligned) (r0/1)(/, r1/, 64)",
    "(bar/barrier)(/.cta).red(/.popc/.and/.or)(/.aligned).(pred/u32) (p0/r0), (r1/1)(/, r2/, 64), (p1/!p1)",
    "bar(rier/)(.warp).sync (r0/-1)",
    "barrier.cluster.(arrive/wait)(/.release/.relaxed/.acquire)(/.aligned)",
    "(ldmatrix/stmatrix).sync.aligned.m8n8.(x1/x2/x4)(/.trans)$space.(b16/b8) ($lanes, [(r9/d1)]/[(r9/d1)], $lanes)",
    "movmatrix.sync.aligned.m8n8.trans.(b16/b32) r0, r1",
    "mma.sync.aligned.(m16n8k8/m16n8k16/m8n8k4).(row/col).(row/col).(f32/f16).(f16/bf16/f32).(f16/bf16).(f32/f16) ({r0, r1}/{r0, r1, r2, r3}), ({r4, r5}/{r4, r5, r6, r7}), ({r8}/{r8, r9}), ({r10, r11}/{r10, r11, r12, r13})",
    "wgmma.(fence/commit_group/wait_group).sync.aligned(/ 0/ 7/ 8/ 63)",
    "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.(f32/f16).(f16/bf16).(f16/bf16) ({r0, r1}/{r0, r1, r2, r3}), (d1/{r4, r5, r6, r7}), d2, (p0/0/1/!p0), (1/-1), (1/-1)(/, 0/, 1)(/, 0/, 1); wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0",
    "setmaxnreg.(inc/dec).sync.aligned.u32 (24/232/256)",
    "(nanosleep.u32 (r0/100/r0, r1)/brkpt/trap/exit/ret(/.uni)/griddepcontrol(/.wait/.launch_dependents))",
    // Registers with a type of their own.
    "(add/min/mul.lo/fma.rn/and/div.rn/setp.lt).$any (($typed, r1, r2(/, r3)/r0, $typed, r2(/, r3)/$typed, h1, h2/$typed, d1, d2)/p0, ($typed, r1/$typed, d1/$typed, h1))",
    "(mov/selp/shl/neg/popc/brev/bfind).$any ($typed, (r1/d1/h1)/(r0/d0/h0), $typed)(/, r2)(/, p0)",
    "(ld.global/st.global/ld.shared.v2).$any ($typed, [d1]/[d1], $typed/{$typed, r1}, [d1]/r0, [$typed])",
    "cvt(/.rn/.rzi).$number.$number ($typed, (h1/r1/d1)/(h0/r0/d0), $typed)",
    "set.lt.$any.(u32/f32) $typed, r1, r2",
    "(mul.wide.s32/mul.wide.u16/shl.b64/shfl.sync.idx.b32/redux.sync.add.u32/atom.global.add.u32/atom.global.add.f32/atom.global.exch.b64) ($typed, (r1/h1), (r2/h2)/(r0/d0), $typed, r2/d0, d1, $typed/$typed, [d1], (r2/d2)/r0, [d1], $typed/r0, r1, $typed, 31, -1/$typed, r1, -1/r0, $typed, -1)",
    "(slct.b32.f32/slct.b32.s32/prmt.b32/lop3.b32/bfe.u32/dp4a.u32.u32) ($typed, r1, r2, r3/r0, $typed, r2, r3/r0, r1, r2, $typed)(/, 3)",
    "mma.sync.aligned.m16n8k8.row.col.(f32.f16.f16.f32/f16.f16.f16.f16/f32.bf16.bf16.f32) ({$typed, r1(/, r2, r3)}, {r4, r5}/{r0, r1(/, r2, r3)}, {$typed, r5}), {r8}, {r10, r11(/, r12, r13)}",
    "(testp.finite.f32 p0, /bar.sync /nanosleep.u32 /ex2.approx.f32 r0, /tanh.approx.f16 h0, /vote.sync.ballot.b32 r0, p0, /match.any.sync.b32 r0, r1, /elect.sync r0|p0, /bar.warp.sync /mbarrier.try_wait.parity.b64 p0, [d1], /mapa.shared::cluster.u32 r0, r1, /cp.async.ca.shared.global [r1], [d1], 4, /shf.l.wrap.b32 r0, r1, r2, /fns.b32 r0, r1, r2, )$typed",
    // Operands that are no registers.
    "(add/min/and/mul.lo/div).$any (h0/r0/d0/p0), ((h1/r1/d1/p1), $source/$source, (h1/r1/d1/p1))",
    "(fma.rn/mad.lo).$any ((h0, h1, h2/r0, r1, r2/d0, d1, d2), $source/(h0, h1/r0, r1/d0, d1), $source, (h1/r1/d1))",
    "mad.wide.(u16/u32) (r0, h0, /d0, r0, )(h1, $source/r1, $source/$source, r1/$source, d1)",
    "(neg/not/abs/popc/cnot).$any (h0/r0/d0/p0), $source",
    "(shl.b32/shr.s64/shl.b16) (h0, h1/r0, r1/d0, d1), $source",
    "setp.eq.$any p0, (h1/r1/d1), $source",
    "selp.$any (h0, h1/r0, r1/d0, d1), $source, (p0/1)",
    "cvt(/.rn/.rzi).(u32/u64/f32/u16).$any (h0/r0/d0), $source",
    "(atom.global.add.u32 r0, [d1]/st.global.u32 [d1]/st.global.b64 [d1]/st.global.f32 [d1]), $source",
    "(lop3.b32 r0, $source, r1, r2, 3/prmt.b32 r0, r1, r2, $source/bfe.u32 r0, r1, $source, 3)",
];

/// All forms, each once.
pub fn all() -> Vec<String> {
    let mut all: Vec<String> = PATTERNS
        .iter()
        .flat_map(|pattern| expand(&with_lists(pattern)))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn with_lists(pattern: &str) -> String {
    let mut text = pattern.to_string();
    for (name, list) in LISTS {
        text = text.replace(name, list);
    }
    text
}

/// What a pattern stands for.
fn expand(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('(') else {
        return vec![pattern.to_string()];
    };
    let (mut depth, mut start, mut choices) = (0, open + 1, Vec::new());
    let mut close = pattern.len();
    for (i, c) in pattern.char_indices().skip_while(|&(i, _)| i < open) {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if (c == '/' && depth == 1) || depth == 0 {
            choices.push(&pattern[start..i]);
            start = i + 1;
        }
        if depth == 0 {
            close = i + 1;
            break;
        }
    }
    let rest = expand(&pattern[close..]);
    let mut all = Vec::new();
    for choice in choices.into_iter().flat_map(expand) {
        all.extend(
            rest.iter()
                .map(|rest| format!("{}{choice}{rest}", &pattern[..open])),
        );
    }
    all
}
