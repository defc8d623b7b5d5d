//! Sequences of different lengths, one after the other in the rows of q and of k.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use flash_attention::{CuSeqlens, Device, Error};

use super::file::{self, File};

/// How rows are cut into sequences; checked.
pub struct Sequences {
    /// Of q, of k.
    cu_seqlens: [Vec<i32>; 2],
    seqused: [Option<Vec<i32>>; 2],
    entries: Vec<[Range<usize>; 2]>,
    max_seqlens: [usize; 2],
}

impl Sequences {
    /// None when the file says nothing about sequences.
    pub fn read(file: &File) -> Result<Option<Sequences>> {
        let Some(cu_seqlens) = cu_seqlens(file)? else {
            return match ["seqused_q", "seqused_k"]
                .iter()
                .find(|name| file.has(name))
            {
                Some(name) => bail!(
                    "{name} is about sequences of different lengths, which the file has none of: add cu_seqlens or \
                     remove {name}"
                ),
                None => Ok(None),
            };
        };
        let mut sequences = Sequences {
            cu_seqlens,
            seqused: [rows(file, "seqused_q")?, rows(file, "seqused_k")?],
            entries: Vec::new(),
            max_seqlens: [0; 2],
        };
        // The library's checks need a device; any will do.
        let checked = sequences.on(&Device::emulated())?;
        let range = |(first, rows)| first..first + rows;
        sequences.entries = checked.entries().map(|entry| entry.map(range)).collect();
        sequences.max_seqlens = [checked.max_seqlen_q(), checked.max_seqlen_k()];
        Ok(Some(sequences))
    }

    /// Checks that every sequence is inside the rows of q, and of k.
    pub fn check_rows(&self, rows: [usize; 2]) -> Result<()> {
        for (side, rows) in rows.into_iter().enumerate() {
            let (array, tensor) = [("cu_seqlens_q", "q"), ("cu_seqlens_k", "k")][side];
            let end = self.cu_seqlens[side].last().copied().unwrap_or(0);
            // Not negative: offsets have been checked.
            if end as usize > rows {
                bail!(
                    "{array} ends at row {end}, {tensor} has {rows} rows: correct the offsets, or pass the whole tensor"
                );
            }
        }
        Ok(())
    }

    /// The same for the library.
    pub fn on(&self, device: &Device) -> Result<CuSeqlens, Error> {
        let [cu_seqlens_q, cu_seqlens_k] = &self.cu_seqlens;
        let [seqused_q, seqused_k] = &self.seqused;
        CuSeqlens::new(device, cu_seqlens_q, cu_seqlens_k)?
            .seqused(seqused_q.as_deref(), seqused_k.as_deref())
    }

    /// Rows of q and of k that each sequence uses.
    pub fn entries(&self) -> &[[Range<usize>; 2]] {
        &self.entries
    }

    /// Most rows that a sequence uses, of q and of k.
    pub fn max_seqlens(&self) -> [usize; 2] {
        self.max_seqlens
    }
}

fn cu_seqlens(file: &File) -> Result<Option<[Vec<i32>; 2]>> {
    let both = rows(file, "cu_seqlens")?;
    let (q, k) = (rows(file, "cu_seqlens_q")?, rows(file, "cu_seqlens_k")?);
    match (both, q, k) {
        (None, None, None) => Ok(None),
        (Some(both), None, None) => Ok(Some([both.clone(), both])),
        (None, Some(q), Some(k)) => Ok(Some([q, k])),
        (Some(_), _, _) => bail!(
            "cu_seqlens is for queries and keys alike, but the file has cu_seqlens_q or cu_seqlens_k as well: remove one"
        ),
        (None, _, _) => bail!(
            "cu_seqlens_q and cu_seqlens_k need each other: add the missing one, or name it cu_seqlens if it is for both"
        ),
    }
}

/// A tensor of numbers of rows.
fn rows(file: &File, name: &str) -> Result<Option<Vec<i32>>> {
    let Some(tensor) = file.find(name) else {
        return Ok(None);
    };
    let rows = file::integers(name, &tensor)?.into_iter().map(|row| {
        i32::try_from(row).map_err(|_| {
            anyhow!(
                "{name} has {row}, rows are at most {}: split the batch over several files",
                i32::MAX
            )
        })
    });
    rows.collect::<Result<_>>().map(Some)
}
