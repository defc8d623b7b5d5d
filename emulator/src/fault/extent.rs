//! Memory that an access misses, and by how much.

use std::fmt;

/// Some contiguous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First address.
    pub base: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}-byte allocation at {:#x}", self.bytes, self.base)
    }
}

/// How an access of `bytes` bytes at `address` misses the memory that is nearest, as the end of a sentence.
pub(super) fn missed(space: &str, address: u64, bytes: u32, nearest: Option<&Extent>) -> String {
    let Some(extent) = nearest else {
        return String::new();
    };
    let name = match space {
        "global" => extent.to_string(),
        _ => format!("the {} bytes of {space} memory", extent.bytes),
    };
    let end = extent.base + extent.bytes;
    if address < extent.base {
        format!(": {} bytes before {name}", extent.base - address)
    } else if address < end {
        let beyond = u64::from(bytes) - (end - address);
        format!(": its last {beyond} bytes are past the end of {name}")
    } else {
        match address - end {
            0 => format!(": right past the end of {name}"),
            beyond => format!(": {beyond} bytes past the end of {name}"),
        }
    }
}
