//! How far the scope of a strong access or a fence reaches, as far as blocks are concerned.

use crate::ir::Scope;

/// The threads of other warps that a scope includes; later ones include more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Those of the block.
    Block,
    /// Those of the cluster.
    Cluster,
    /// All that run: a launch is alone on the device.
    Grid,
}

impl Reach {
    /// From nearest to farthest; a reach's position here is `reach as usize`.
    pub const ALL: [Reach; 3] = [Reach::Block, Reach::Cluster, Reach::Grid];

    pub fn of(scope: Scope) -> Self {
        match scope {
            Scope::Cta => Reach::Block,
            Scope::Cluster => Reach::Cluster,
            Scope::Gpu | Scope::Sys => Reach::Grid,
        }
    }
}
