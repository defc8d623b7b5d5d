//! Which tiles of O a block computes, and in which order. The grid has as many blocks as the device has
//! multiprocessors, or fewer: each takes several tiles, which are known from the start. Nothing is counted or handed
//! out at run time, so the results do not depend on the device.
//!
//! Tiles are ranked. Heads whose keys and values fit into half of L2 together form a section; inside a section, the last
//! query tiles of all heads come first, because under a causal mask they see the most keys. Ranks are dealt to blocks
//! in rounds, every other round backwards: who got the longest of one round gets the shortest of the next.
//!
//! ```text
//! blocks    0   1   2   3
//! round 0   0   1   2   3
//! round 1   7   6   5   4
//! round 2   8   9  10  11
//! ```

use crate::block_info::div_rem;

/// Bytes of K and V that one section may have: blocks of a section read them again and again, from L2.
const SECTION_BYTES: u32 = 32 << 20;

/// All tiles of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Tiles of all heads and batch entries.
    pub tiles: u32,
    /// Tiles of one head.
    pub m_blocks: u32,
    /// Heads of one section; heads of all batch entries are counted.
    pub section_heads: u32,
}

/// One tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Query tile of the head.
    pub m_block: u32,
    /// Head, counted over all batch entries.
    pub head: u32,
}

impl Schedule {
    /// Of `tiles` tiles, `m_blocks` of each head, when `heads_per_group` heads in a row share `seqlen_k` keys of
    /// `head_dim` elements of 16 bits.
    #[inline(always)]
    pub fn new(
        tiles: u32,
        m_blocks: u32,
        heads_per_group: u32,
        seqlen_k: u32,
        head_dim: u32,
    ) -> Self {
        let (groups, _) = div_rem(SECTION_BYTES / (4 * head_dim), seqlen_k);
        let (all_heads, _) = div_rem(tiles, m_blocks);
        let section_heads = groups.max(1).saturating_mul(heads_per_group);
        Schedule {
            tiles,
            m_blocks,
            section_heads: section_heads.min(all_heads),
        }
    }

    /// Rank of the tile that block `block` of `blocks` computes in round `round`; beyond the tiles from its last round on.
    #[inline(always)]
    pub const fn deal(round: u32, block: u32, blocks: u32) -> u32 {
        let in_round = if round.is_multiple_of(2) {
            block
        } else {
            blocks - 1 - block
        };
        round * blocks + in_round
    }

    /// The tile of rank `rank`, which exists.
    #[inline(always)]
    pub fn place(&self, rank: u32) -> Place {
        let (all_heads, _) = div_rem(self.tiles, self.m_blocks);
        let (section, in_section) = div_rem(rank, self.section_heads * self.m_blocks);
        let first_head = section * self.section_heads;
        let heads = self.section_heads.min(all_heads - first_head);
        let (m_rank, head) = div_rem(in_section, heads);
        Place {
            m_block: self.m_blocks - 1 - m_rank,
            head: first_head + head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn schedule(m_blocks: u32, heads: u32, section_heads: u32) -> Schedule {
        Schedule {
            tiles: m_blocks * heads,
            m_blocks,
            section_heads,
        }
    }

    fn dealt(schedule: &Schedule, block: u32, blocks: u32) -> Vec<Place> {
        (0..)
            .map(|round| Schedule::deal(round, block, blocks))
            .take_while(|&rank| rank < schedule.tiles)
            .map(|rank| schedule.place(rank))
            .collect()
    }

    #[test]
    fn every_tile_is_computed_once_whatever_the_grid() {
        for (m_blocks, heads, section_heads) in [(1, 1, 1), (5, 7, 3), (3, 8, 8), (4, 6, 1)] {
            let schedule = schedule(m_blocks, heads, section_heads);
            for blocks in [1, 2, 3, 13, schedule.tiles] {
                let all: Vec<_> = (0..blocks)
                    .flat_map(|block| dealt(&schedule, block, blocks))
                    .collect();
                let distinct: HashSet<_> = all.iter().copied().collect();
                assert_eq!(
                    (all.len(), distinct.len()),
                    (schedule.tiles as usize, schedule.tiles as usize)
                );
                let exists = |place: &Place| place.m_block < m_blocks && place.head < heads;
                assert!(distinct.iter().all(exists));
            }
        }
    }

    #[test]
    fn rounds_are_dealt_back_and_forth() {
        let schedule = schedule(12, 1, 1);
        let m_blocks = |block| {
            dealt(&schedule, block, 4)
                .iter()
                .map(|p| p.m_block)
                .collect()
        };
        let of_blocks: [Vec<u32>; 4] = [0, 1, 2, 3].map(m_blocks);
        assert_eq!(of_blocks, [[11, 4, 3], [10, 5, 2], [9, 6, 1], [8, 7, 0]]);
    }

    #[test]
    fn causal_work_is_even() {
        // 64 query tiles of 4 heads on 132 multiprocessors, each as long as its number.
        let schedule = schedule(64, 4, 4);
        let work = |block| {
            let tiles = dealt(&schedule, block, 132);
            tiles.iter().map(|place| place.m_block + 1).sum::<u32>()
        };
        let (least, most) = ((0..132).map(work).min(), (0..132).map(work).max());
        assert!(most.unwrap() <= least.unwrap() + 2, "{least:?} {most:?}");
    }

    #[test]
    fn sections_hold_whole_groups_that_fit_into_the_cache() {
        let heads = |tiles, group, seqlen_k, head_dim| {
            Schedule::new(tiles, 1, group, seqlen_k, head_dim).section_heads
        };
        // 4 MiB per key head.
        assert_eq!(heads(1000, 4, 8192, 128), 32);
        assert_eq!(heads(6, 4, 8192, 128), 6);
        // One key head alone is larger than a section, and no keys take no space.
        assert_eq!(heads(1000, 4, 1 << 30, 256), 4);
        assert_eq!(heads(1000, 1, 0, 64), 1000);
        assert_eq!(heads(i32::MAX as u32, 1 << 20, 1, 64), i32::MAX as u32);
    }
}
