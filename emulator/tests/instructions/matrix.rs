//! Matrices between registers and shared memory.

use ptx_emulator::{Options, Sanitizers, Schedule};

use crate::common::{kernel, run_with};

/// Stores four matrices whose registers hold 0x10000 * (2 * lane + 1) + 2 * lane in lane order, the
/// matrices told apart by their upper bits, and reads back what `read` leaves in %r1 to %r4.
fn store_and(store: &str, count: usize, read: &str) -> Vec<[u32; 4]> {
    let registers = ["%r10", "%r11", "%r12", "%r13"][..count].join(", ");
    let text = kernel(
        ".shared .align 16 .b8 matrices[512];",
        &format!(
            "shl.b32 %r5, %r0, 1; add.u32 %r6, %r5, 1; shl.b32 %r6, %r6, 16; or.b32 %r10, %r5, %r6;
             or.b32 %r11, %r10, 0x01000100; or.b32 %r12, %r10, 0x02000200;
             or.b32 %r13, %r10, 0x03000300;
             mov.u32 %r7, matrices; shl.b32 %r8, %r0, 4; add.u32 %r7, %r7, %r8; mov.u32 %r9, 0;
             st.shared.v4.b32 [%r7], {{%r9, %r9, %r9, %r9}}; bar.warp.sync -1;
             {store} [%r7], {{{registers}}}; bar.warp.sync -1;
             {read}
             add.u64 %rd0, %rd0, 0; cvt.u64.u32 %rd1, %r8; add.u64 %rd1, %rd0, %rd1;
             st.global.v4.b32 [%rd1], {{%r1, %r2, %r3, %r4}};"
        ),
    );
    let seeds = [Schedule::InOrder, Schedule::Seeded(3)];
    let runs = seeds.map(|schedule| {
        let options = Options {
            schedule,
            sanitizers: Sanitizers::ALL,
            ..Options::default()
        };
        let run = run_with(&text, 1, 32, &options);
        run.result
            .clone()
            .unwrap_or_else(|fault| panic!("{store}: {}", fault.report()));
        let lane = |lane: usize| [0, 1, 2, 3].map(|i| run.word(4 * lane + i));
        (0..32).map(lane).collect::<Vec<_>>()
    });
    assert_eq!(runs[0], runs[1]);
    runs[0].clone()
}

/// What each lane's registers held.
fn held(lane: usize) -> [u32; 4] {
    [0, 1, 2, 3].map(|matrix| {
        let (low, high) = (2 * lane as u32, 2 * lane as u32 + 1);
        low | high << 16 | matrix << 8 | matrix << 24
    })
}

const LOAD: &str = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r7];";
const LOAD_TRANSPOSED: &str =
    "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r1, %r2, %r3, %r4}, [%r7];";
/// The 16 bytes of the row that the lane names.
const LOAD_ROW: &str = "ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r7];";

#[test]
fn stmatrix_is_the_inverse_of_ldmatrix() {
    let store = "stmatrix.sync.aligned.m8n8.x4.shared.b16";
    let transposed = "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16";
    let expected: Vec<[u32; 4]> = (0..32).map(held).collect();
    assert_eq!(store_and(store, 4, LOAD), expected);
    assert_eq!(store_and(transposed, 4, LOAD_TRANSPOSED), expected);
}

#[test]
fn rows_of_a_stored_matrix_lie_where_their_lanes_say() {
    let rows = store_and("stmatrix.sync.aligned.m8n8.x4.shared.b16", 4, LOAD_ROW);
    // Row q of matrix j is what lanes 4q to 4q + 3 hold, named by lane 8j + q.
    for (lane, row) in rows.iter().enumerate() {
        let (matrix, q) = (lane / 8, lane % 8);
        assert_eq!(
            *row,
            [0, 1, 2, 3].map(|i| held(4 * q + i)[matrix]),
            "lane {lane}"
        );
    }
    let columns = store_and(
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16",
        4,
        LOAD_ROW,
    );
    for (lane, row) in columns.iter().enumerate() {
        let (matrix, column) = (lane / 8, lane % 8);
        let element = |r: usize| held(4 * r + column / 2)[matrix] >> (16 * (column % 2)) & 0xffff;
        assert_eq!(
            *row,
            [0, 2, 4, 6].map(|r| element(r) | element(r + 1) << 16),
            "lane {lane}"
        );
    }
}

#[test]
fn fewer_matrices_leave_the_rest_alone() {
    for (count, name) in [(1, "x1"), (2, "x2")] {
        let store = format!("stmatrix.sync.aligned.m8n8.{name}.shared.b16");
        let rows = store_and(&store, count, LOAD_ROW);
        assert_ne!(rows[8 * count - 1], [0; 4]);
        assert!(rows[8 * count..].iter().all(|row| *row == [0; 4]), "{name}");
    }
}
