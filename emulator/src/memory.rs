//! Device memory: allocations that host and kernels share.
//!
//! Every allocation starts at a 256-byte-aligned address that is never given out again, with at
//! least [`RED_ZONE`] unused bytes behind it, so that overruns and use after free are found. Fresh
//! memory holds [`POISON`], a NaN in every floating-point format. Storage is atomic words, accessed
//! without ordering: blocks on several threads may race, as they may on a GPU, and the worst that
//! happens is what the PTX memory model allows.
//!
//! A launch sees the allocations that exist when it starts. `written` remembers which bytes the host
//! and launches under initcheck have written.

pub(crate) mod written;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::MemoryError;
use crate::fault::Extent;
use crate::ir::Globals;
use written::Written;

/// Byte with which fresh memory is filled.
pub(crate) const POISON: u8 = 0xff;
/// Least distance between two allocations in bytes: addresses of different allocations differ by
/// more than 32 bits can hold, so that a kernel with 32-bit offsets between them is found out.
pub(crate) const RED_ZONE: u64 = 1 << 33;
/// Freed allocations that are remembered, the latest ones: a process may free any number.
const FREED_KEPT: usize = 1 << 16;
/// Address of the first allocation.
const FIRST_ADDRESS: u64 = 0x0000_7000_0000_0000;

/// Device memory of one device.
pub struct GlobalMemory {
    state: RwLock<State>,
}

struct State {
    /// Sorted by address, because addresses only grow.
    allocations: Vec<Arc<Allocation>>,
    /// What has been freed, in that order.
    freed: VecDeque<Extent>,
    next_address: u64,
    /// Addresses of the variables of modules that were launched here. Holding the module's globals
    /// keeps their identity, the pointer, from being used again.
    modules: HashMap<usize, (Arc<Globals>, Arc<[u64]>)>,
}

/// One live allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub base: u64,
    pub bytes: u64,
    pub words: Box<[AtomicU32]>,
    pub written: Written,
}

impl Default for GlobalMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl GlobalMemory {
    /// An empty memory.
    pub fn new() -> Self {
        let state = State {
            allocations: Vec::new(),
            freed: VecDeque::new(),
            next_address: FIRST_ADDRESS,
            modules: HashMap::new(),
        };
        Self {
            state: RwLock::new(state),
        }
    }

    /// Reserves `bytes` of poisoned memory and returns its device address, a multiple of 256.
    ///
    /// # Errors
    /// [`MemoryError::OutOfMemory`] when the host cannot supply it.
    pub fn alloc(&self, bytes: usize) -> Result<u64, MemoryError> {
        let word_count = bytes.div_ceil(4);
        let mut words = Vec::new();
        words
            .try_reserve_exact(word_count)
            .map_err(|_| MemoryError::OutOfMemory { bytes })?;
        let poison = u32::from_ne_bytes([POISON; 4]);
        words.resize_with(word_count, || AtomicU32::new(poison));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let base = state.next_address;
        let end = base + bytes as u64 + RED_ZONE;
        state.next_address = end.next_multiple_of(256);
        let allocation = Allocation {
            base,
            bytes: bytes as u64,
            words: words.into(),
            written: Written::nothing(bytes as u64),
        };
        state.allocations.push(Arc::new(allocation));
        Ok(base)
    }

    /// Ends the allocation that starts at `ptr`.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] when there is none.
    pub fn free(&self, ptr: u64) -> Result<(), MemoryError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match state.allocations.binary_search_by_key(&ptr, |a| a.base) {
            Ok(index) => {
                let Allocation { base, bytes, .. } = *state.allocations.remove(index);
                if state.freed.len() == FREED_KEPT {
                    state.freed.pop_front();
                }
                state.freed.push_back(Extent { base, bytes });
                Ok(())
            }
            Err(_) => Err(MemoryError::NotAllocated { address: ptr }),
        }
    }

    /// Copies `data` to the device address `ptr`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] when the range is not inside one allocation; nothing is written
    /// then.
    pub fn write(&self, ptr: u64, data: &[u8]) -> Result<(), MemoryError> {
        let (allocation, start) = self.locate(ptr, data.len())?;
        allocation.written.mark(start as u64, data.len() as u64);
        for (index, byte) in data.iter().enumerate().take(until_word(start, data.len())) {
            allocation.store_byte(start + index, *byte);
        }
        let head = until_word(start, data.len());
        let words = data[head..].chunks_exact(4);
        let tail = words.remainder();
        let first = (start + head) / 4;
        for (word, chunk) in allocation.words[first..].iter().zip(words) {
            word.store(
                u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]),
                Relaxed,
            );
        }
        for (index, byte) in tail.iter().enumerate() {
            allocation.store_byte(start + data.len() - tail.len() + index, *byte);
        }
        Ok(())
    }

    /// Copies from the device address `ptr` into `data`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] when the range is not inside one allocation; `data` is unchanged
    /// then.
    pub fn read(&self, ptr: u64, data: &mut [u8]) -> Result<(), MemoryError> {
        let (allocation, start) = self.locate(ptr, data.len())?;
        let head = until_word(start, data.len());
        for (index, byte) in data[..head].iter_mut().enumerate() {
            *byte = allocation.load_byte(start + index);
        }
        let first = (start + head) / 4;
        for (chunk, word) in data[head..].chunks_mut(4).zip(&allocation.words[first..]) {
            let bytes = word.load(Relaxed).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }

    fn locate(&self, ptr: u64, bytes: usize) -> Result<(Arc<Allocation>, usize), MemoryError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let allocation = find(&state.allocations, ptr)
            .map(|index| &state.allocations[index])
            .filter(|a| ptr - a.base <= a.bytes && bytes as u64 <= a.bytes - (ptr - a.base))
            .ok_or(MemoryError::OutOfBounds {
                address: ptr,
                bytes,
            })?;
        Ok((allocation.clone(), (ptr - allocation.base) as usize))
    }

    /// The allocations as they are now, sorted by address.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Allocation>> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .allocations
            .clone()
    }

    /// True when `address` lies in a live allocation.
    pub(crate) fn holds(&self, address: u64) -> bool {
        self.locate(address, 1).is_ok()
    }

    /// The freed allocation that `address` lies in.
    pub(crate) fn freed(&self, address: u64) -> Option<Extent> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut freed = state.freed.iter();
        freed
            .find(|extent| address.wrapping_sub(extent.base) < extent.bytes)
            .copied()
    }

    /// The live allocation nearest to `address`, when one is nearer than allocations are apart.
    pub(crate) fn nearest(&self, address: u64) -> Option<Extent> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let behind = state.allocations.partition_point(|a| a.base <= address);
        let around = state.allocations[behind.saturating_sub(1)..].iter().take(2);
        around
            .map(|a| Extent {
                base: a.base,
                bytes: a.bytes,
            })
            .map(|extent| (distance(address, extent), extent))
            .filter(|(distance, _)| *distance < RED_ZONE)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, extent)| extent)
    }

    /// Addresses of a module's variables. The first call allocates and initialises them; they live
    /// as long as this memory, and what kernels write to them stays.
    pub(crate) fn module_variables(
        &self,
        globals: &Arc<Globals>,
    ) -> Result<Arc<[u64]>, MemoryError> {
        let key = Arc::as_ptr(globals) as usize;
        let known = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state
                .modules
                .get(&key)
                .map(|(_, addresses)| addresses.clone())
        };
        if let Some(addresses) = known {
            return Ok(addresses);
        }
        let addresses: Arc<[u64]> = globals
            .variables
            .iter()
            .map(|v| self.alloc(v.bytes as usize))
            .collect::<Result<_, _>>()?;
        for (variable, address) in globals.variables.iter().zip(addresses.iter()) {
            self.write(*address, &variable.contents()?)?;
            for relocation in &variable.relocations {
                let target = addresses[relocation.variable as usize];
                let value = target.wrapping_add_signed(relocation.addend);
                self.write(address + u64::from(relocation.offset), &value.to_le_bytes())?;
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Two first launches at once may both come here; the entry that stands wins.
        let entry = state
            .modules
            .entry(key)
            .or_insert((globals.clone(), addresses));
        Ok(entry.1.clone())
    }
}

/// Index of the allocation with the highest base at or below `address`.
pub(crate) fn find(allocations: &[Arc<Allocation>], address: u64) -> Option<usize> {
    allocations
        .partition_point(|a| a.base <= address)
        .checked_sub(1)
}

/// Bytes from `address` to the nearest byte of `extent`.
fn distance(address: u64, extent: Extent) -> u64 {
    let end = extent.base + extent.bytes;
    extent
        .base
        .saturating_sub(address)
        .max(address.saturating_sub(end))
}

/// Bytes until the next word boundary, at most `len`.
fn until_word(start: usize, len: usize) -> usize {
    (start.next_multiple_of(4) - start).min(len)
}

impl Allocation {
    fn load_byte(&self, offset: usize) -> u8 {
        self.words[offset / 4].load(Relaxed).to_le_bytes()[offset % 4]
    }

    fn store_byte(&self, offset: usize, value: u8) {
        let shift = 8 * (offset % 4) as u32;
        replace_bits(
            &self.words[offset / 4],
            0xff << shift,
            u32::from(value) << shift,
        );
    }
}

/// Replaces the bits of `mask` and leaves the others to whoever writes them at the same time.
pub(crate) fn replace_bits(word: &AtomicU32, mask: u32, bits: u32) {
    let mut current = word.load(Relaxed);
    while let Err(seen) =
        word.compare_exchange_weak(current, current & !mask | bits, Relaxed, Relaxed)
    {
        current = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_range_reads_back_what_was_written() {
        let memory = GlobalMemory::new();
        let ptr = memory.alloc(37).unwrap();
        assert_eq!(ptr % 256, 0);
        for start in 0..9 {
            for len in 0..=28 {
                memory.write(ptr, &[0xAA; 37]).unwrap();
                let data: Vec<u8> = (0..len).map(|i| i as u8 + 1).collect();
                memory.write(ptr + start, &data).unwrap();
                let mut all = [0; 37];
                memory.read(ptr, &mut all).unwrap();
                let (start, end) = (start as usize, start as usize + len);
                assert_eq!(&all[start..end], &data[..]);
                assert!(all[..start].iter().chain(&all[end..]).all(|b| *b == 0xAA));
                let mut part = vec![0; len];
                memory.read(ptr + start as u64, &mut part).unwrap();
                assert_eq!(part, data);
            }
        }
    }

    #[test]
    fn ranges_outside_an_allocation_are_refused() {
        let memory = GlobalMemory::new();
        let ptr = memory.alloc(16).unwrap();
        let out = |address, bytes| Err(MemoryError::OutOfBounds { address, bytes });
        assert_eq!(memory.write(ptr + 8, &[0; 9]), out(ptr + 8, 9));
        assert_eq!(memory.read(ptr - 1, &mut [0; 1]), out(ptr - 1, 1));
        assert_eq!(memory.read(u64::MAX, &mut [0; 1]), out(u64::MAX, 1));
        memory.free(ptr).unwrap();
        assert_eq!(memory.read(ptr, &mut [0; 1]), out(ptr, 1));
        assert_eq!(
            memory.free(ptr),
            Err(MemoryError::NotAllocated { address: ptr })
        );
    }

    #[test]
    fn fresh_memory_is_poisoned_and_addresses_are_not_reused() {
        let memory = GlobalMemory::new();
        let first = memory.alloc(5).unwrap();
        let mut data = [0; 5];
        memory.read(first, &mut data).unwrap();
        assert_eq!(data, [POISON; 5]);
        memory.free(first).unwrap();
        assert!(memory.alloc(5).unwrap() > first);
    }

    #[test]
    fn addresses_are_explained_by_what_is_near_or_was_there() {
        let memory = GlobalMemory::new();
        let extent = |base, bytes| Extent { base, bytes };
        let (first, second) = (memory.alloc(100).unwrap(), memory.alloc(5000).unwrap());
        assert_eq!(memory.nearest(first - 1), Some(extent(first, 100)));
        assert_eq!(memory.nearest(first + 4000), Some(extent(first, 100)));
        assert_eq!(memory.nearest(second - 4000), Some(extent(second, 5000)));
        assert_eq!(memory.nearest(64), None);
        assert_eq!(memory.freed(first + 99), None);
        memory.free(first).unwrap();
        assert_eq!(memory.freed(first + 99), Some(extent(first, 100)));
        assert_eq!(memory.freed(first + 100), None);
        assert!(!memory.holds(first) && memory.holds(second + 4999));
    }
}
