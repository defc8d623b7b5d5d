//! Shared memory as 32 banks of 4-byte words.
//!
//! Word w is in bank w mod 32. One wavefront serves one word of each bank, to any number of lanes.
//! Lanes with 8 bytes are served in two halves of the warp, with 16 bytes in four quarters, so that
//! a request without conflicts takes 1, 2 or 4 wavefronts; a matrix of `ldmatrix` is such a quarter.
//! Hardware may merge halves that read the same words; the model does not, and so never counts too
//! few.

use crate::machine::registers::lanes_of;
use crate::observe::Access;

/// Banks, and words that one wavefront can move.
const BANKS: usize = 32;

/// What lanes that name one word cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameWord {
    /// One wavefront serves all of them.
    Shared,
    /// They take turns: atomics.
    InTurn,
}

/// Wavefronts of an access, and how many it would take without conflicts.
pub(super) fn wavefronts(access: &Access, same: SameWord) -> (u64, u64) {
    let words_per_lane = access.bytes.div_ceil(4).clamp(1, BANKS as u32);
    let lanes_per_pass = BANKS as u32 / words_per_lane;
    let (mut taken, mut ideal) = (0, 0);
    for first in (0..32).step_by(lanes_per_pass as usize) {
        let lanes = access.lanes & (u32::MAX >> (32 - lanes_per_pass)) << first;
        if lanes == 0 {
            continue;
        }
        let mut words = [0; BANKS];
        let mut len = 0;
        for lane in lanes_of(lanes) {
            let word = (access.offsets[lane] / 4) as u32;
            for next in 0..words_per_lane {
                words[len] = word + next;
                len += 1;
            }
        }
        taken += passes(&mut words[..len], same);
        ideal += 1;
    }
    (taken, ideal)
}

/// The largest number of words that one bank has to serve.
fn passes(words: &mut [u32], same: SameWord) -> u64 {
    match same {
        SameWord::Shared if one_word_per_bank(words) => 1,
        SameWord::Shared => {
            words.sort_unstable();
            let different = words.chunk_by(|a, b| a == b).map(|equal| equal[0]);
            fullest_bank(different)
        }
        SameWord::InTurn => fullest_bank(words.iter().copied()),
    }
}

fn one_word_per_bank(words: &[u32]) -> bool {
    let mut first = [None; BANKS];
    words
        .iter()
        .all(|word| *first[*word as usize % BANKS].get_or_insert(*word) == *word)
}

fn fullest_bank(words: impl Iterator<Item = u32>) -> u64 {
    let mut counts = [0; BANKS];
    for word in words {
        counts[word as usize % BANKS] += 1;
    }
    counts.into_iter().max().unwrap_or(0)
}
