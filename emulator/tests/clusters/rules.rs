//! What a launch with clusters must satisfy.

use ptx_emulator::{FaultKind, Module, PtxErrorKind};

use crate::harness::{Shape, fault, kernel, output};

/// The rule that a launch breaks.
#[track_caller]
fn refused(directives: &str, grid: [u32; 3], cluster: Option<[u32; 3]>) -> String {
    let shape = Shape {
        grid,
        cluster,
        threads: 32,
    };
    match fault(&kernel(directives, ""), shape) {
        FaultKind::Launch(rule) => rule,
        kind => panic!("{kind}"),
    }
}

#[test]
fn a_cluster_divides_the_grid_and_has_at_most_eight_blocks() {
    let rule = refused("", [6, 1, 1], Some([4, 1, 1]));
    assert!(rule.contains("multiple of cluster [4, 1, 1]"), "{rule}");
    let rule = refused("", [4, 3, 1], Some([2, 2, 1]));
    assert!(rule.contains("multiple of cluster [2, 2, 1]"), "{rule}");
    for cluster in [[16, 1, 1], [3, 3, 1], [0, 1, 1], [u32::MAX, u32::MAX, 1]] {
        let rule = refused("", [144, 9, 1], Some(cluster));
        assert!(rule.contains("at most 8 blocks"), "{rule}");
    }
    let eight = Shape::along_x(16, 8, 32);
    output(&kernel("", ""), eight);
}

#[test]
fn directives_bind_a_launch() {
    let rule = refused(".reqnctapercluster 2, 1, 1", [4, 1, 1], Some([4, 1, 1]));
    assert!(rule.contains(".reqnctapercluster"), "{rule}");
    let rule = refused(".reqnctapercluster 2", [3, 1, 1], None);
    assert!(rule.contains("multiple of cluster [2, 1, 1]"), "{rule}");
    let rule = refused(".maxclusterrank 2", [4, 1, 1], Some([4, 1, 1]));
    assert!(rule.contains(".maxclusterrank"), "{rule}");
    let rule = refused(".explicitcluster", [4, 1, 1], None);
    assert!(rule.contains(".explicitcluster"), "{rule}");
    // The entry's own shape is taken where the launch names none.
    let body = "mov.u32 %r3, %cluster_nctarank; mad.wide.u32 %rd1, %r1, 4, %rd0;
                setp.eq.u32 %p0, %r0, 0; @%p0 st.global.u32 [%rd1], %r3;";
    let shape = Shape {
        grid: [4, 1, 1],
        cluster: None,
        threads: 32,
    };
    let text = kernel(".reqnctapercluster 4, 1, 1 .explicitcluster", body);
    assert_eq!(output(&text, shape)[..4], [4; 4]);
}

#[test]
fn older_modules_have_no_clusters() {
    let older = |text: &str| Module::parse(&text.replace("sm_90", "sm_80"));
    for text in [
        kernel(".reqnctapercluster 2, 1, 1", ""),
        kernel("", "mov.u32 %r3, %clusterid.x;"),
        kernel("", "barrier.cluster.arrive;"),
        kernel("", "mapa.u64 %rd1, %rd2, 0;"),
        kernel("", "ld.shared::cluster.u32 %r3, [%r4];"),
        kernel("", "fence.acq_rel.cluster;"),
        kernel("", "griddepcontrol.wait;"),
    ] {
        let error = older(&text).expect_err(&text);
        assert!(matches!(error.kind, PtxErrorKind::Target { .. }), "{error}");
    }
    let flat = ".version 7.0\n.target sm_80\n.extern .shared .align 16 .b8 dynamic[];\n\
                .entry k(.param .u64 out) { ret; }";
    match fault(flat, Shape::along_x(2, 2, 32)) {
        FaultKind::Launch(rule) => assert!(rule.contains("sm_90"), "{rule}"),
        kind => panic!("{kind}"),
    }
}
