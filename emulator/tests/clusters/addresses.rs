//! Shared addresses with ranks, their conversions, and the special registers of clusters (PTX ISA, "mapa",
//! "getctarank", "cvta", "isspacep", "Special Registers").

use ptx_emulator::FaultKind;

use crate::harness::{Shape, fault, kernel, output};

/// Stores `%r10`, `%r11`, .. of thread 0 of each block: `count` words of block b from word `b * count` on.
fn store(count: usize) -> String {
    let stores: String = (0..count)
        .map(|i| format!("@%p7 st.global.b32 [%rd20+{}], %r{};\n", 4 * i, 10 + i))
        .collect();
    format!(
        "mov.u32 %r30, %ctaid.y; mov.u32 %r31, %nctaid.x; mad.lo.u32 %r30, %r30, %r31, %r1;
         mad.wide.u32 %rd20, %r30, {}, %rd0; setp.eq.u32 %p7, %r0, 0;\n{stores}",
        4 * count
    )
}

/// What thread 0 of each block has in `%r10` and the registers after it.
fn words<const N: usize>(body: &str, shape: Shape) -> Vec<[u32; N]> {
    let blocks = shape.grid.iter().product::<u32>() as usize;
    let all = output(&kernel("", &format!("{body}\n{}", store(N))), shape);
    let chunks = all.chunks_exact(N).take(blocks);
    chunks
        .map(|chunk| chunk.try_into().expect("a chunk"))
        .collect()
}

#[test]
fn a_shared_address_is_the_rank_and_an_offset_behind_the_first_kib() {
    // Static variables first, the dynamic array behind them, at an odd multiple of its alignment in order.
    let body = "mov.u32 %r10, buffer; mov.u32 %r11, dynamic; mov.u64 %rd1, buffer+8; cvt.u32.u64 %r12, %rd1;
                shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r13, %rd1; and.b32 %r11, %r11, 0xff0007ff;";
    let found = words::<4>(body, Shape::along_x(4, 2, 32));
    let expected = |rank: u32| {
        [
            rank << 24 | 0x400,
            rank << 24 | 0x400,
            rank << 24 | 0x408,
            0,
        ]
    };
    assert_eq!(found, [0, 1, 0, 1].map(expected));
}

#[test]
fn mapa_replaces_the_rank_and_getctarank_reads_it() {
    let body = "mov.u32 %r3, 0x430; mapa.shared::cluster.u32 %r10, %r3, 3;
                mov.u32 %r3, 0x5000430; mapa.shared::cluster.u32 %r11, %r3, 1;
                mov.u32 %r3, 0x3000430; getctarank.shared::cluster.u32 %r12, %r3;
                mapa.shared::cluster.u32 %r13, buffer, 2;
                mov.u64 %rd1, buffer; cvta.shared.u64 %rd2, %rd1; mapa.u64 %rd3, %rd2, 3;
                getctarank.u64 %r14, %rd3; cvta.to.shared::cluster.u64 %rd4, %rd3; cvt.u32.u64 %r15, %rd4;
                mapa.shared::cluster.u64 %rd5, %rd1, 1; cvt.u32.u64 %r16, %rd5;
                getctarank.shared::cluster.u64 %r17, %rd5;";
    let found = words::<8>(body, Shape::along_x(4, 4, 32));
    let expected = [
        0x0300_0430,
        0x0100_0430,
        3,
        0x0200_0400,
        3,
        0x0300_0400,
        0x0100_0400,
        1,
    ];
    assert_eq!(found, [expected; 4]);
}

#[test]
fn spaces_are_told_by_rank() {
    let body = "mov.u64 %rd1, buffer; cvta.shared.u64 %rd2, %rd1; mapa.u64 %rd3, %rd2, 0;
                isspacep.shared::cta %p0, %rd2; isspacep.shared::cluster %p1, %rd2; isspacep.shared %p2, %rd3;
                isspacep.shared::cluster %p3, %rd3; isspacep.global %p4, %rd3; isspacep.shared::cluster %p5, %rd0;
                selp.u32 %r10, 1, 0, %p0; selp.u32 %r11, 1, 0, %p1; selp.u32 %r12, 1, 0, %p2;
                selp.u32 %r13, 1, 0, %p3; selp.u32 %r14, 1, 0, %p4; selp.u32 %r15, 1, 0, %p5;";
    let found = words::<6>(body, Shape::along_x(2, 2, 32));
    assert_eq!(found, [[1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 0, 0]]);
}

#[test]
fn special_registers_count_along_x_first() {
    let body = "mov.u32 %r10, %clusterid.x; mov.u32 %r11, %clusterid.y; mov.u32 %r12, %nclusterid.x;
                mov.u32 %r13, %nclusterid.y; mov.u32 %r14, %cluster_ctaid.x; mov.u32 %r15, %cluster_ctaid.y;
                mov.u32 %r16, %cluster_nctaid.x; mov.u32 %r17, %cluster_nctaid.y; mov.u32 %r18, %cluster_ctarank;
                mov.u32 %r19, %cluster_nctarank; mov.pred %p0, %is_explicit_cluster; selp.u32 %r20, 1, 0, %p0;";
    let shape = Shape {
        grid: [4, 6, 1],
        cluster: Some([2, 3, 1]),
        threads: 32,
    };
    let found = words::<11>(body, shape);
    for (number, found) in found.iter().enumerate() {
        let (x, y) = (number as u32 % 4, number as u32 / 4);
        let (inside_x, inside_y) = (x % 2, y % 3);
        let rank = inside_x + 2 * inside_y;
        let expected = [x / 2, y / 3, 2, 2, inside_x, inside_y, 2, 3, rank, 6, 1];
        assert_eq!(*found, expected, "block {x}, {y}");
    }
    // Without clusters each block is one.
    let alone = Shape {
        cluster: None,
        ..shape
    };
    for (number, found) in words::<11>(body, alone).iter().enumerate() {
        let (x, y) = (number as u32 % 4, number as u32 / 4);
        assert_eq!(*found, [x, y, 4, 6, 0, 0, 1, 1, 0, 1, 0], "block {x}, {y}");
    }
}

#[test]
fn the_own_space_holds_the_own_block_only() {
    let two = Shape::along_x(2, 2, 32);
    let meet = "barrier.cluster.arrive; barrier.cluster.wait;";
    let body = |access: &str| {
        kernel(
            "",
            &format!(
                "{meet} mapa.shared::cluster.u32 %r3, buffer, 1; setp.eq.u32 %p0, %r2, 0; {access}\n{meet}"
            ),
        )
    };
    let own = fault(&body("@%p0 st.shared.u32 [%r3], %r0;"), two);
    let address = 0x0100_0400;
    assert_eq!(own, FaultKind::PeerAddress { address, own: 0 });
    let atomic = fault(&body("@%p0 red.shared::cta.add.u32 [%r3], 1;"), two);
    assert_eq!(atomic, FaultKind::PeerAddress { address, own: 0 });
    // No address of any space, and none of a block that is there.
    let low = "setp.eq.u32 %p0, %r2, 0; mov.u32 %r4, 0x3fc; @%p0 st.shared.u32 [%r4], %r0;";
    assert!(matches!(
        fault(&kernel("", low), two),
        FaultKind::OutOfBounds { .. }
    ));
    let (rank, blocks) = (2, 2);
    let beyond = fault(
        &body("add.u32 %r3, %r3, 0x1000000; st.shared::cluster.u32 [%r3], %r0;"),
        two,
    );
    assert_eq!(beyond, FaultKind::NoSuchRank { rank, blocks });
    let mapped = fault(&kernel("", "mapa.shared::cluster.u32 %r3, buffer, 2;"), two);
    assert_eq!(mapped, FaultKind::NoSuchRank { rank, blocks });
}
