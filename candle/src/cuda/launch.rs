//! Addresses of candle's memory for work on a stream.

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop,
};
use candle_core::{Layout, Shape, Storage, StorageRef, Tensor};
use flash_attention::{RawForward, RawSequences, RawTensor};

use crate::call::Call;
use crate::error::Error;
use crate::sequences::Sequences;

/// A tensor whose storage nobody writes meanwhile.
type View<'a> = (StorageRef<'a>, &'a Layout);

/// A call and its tensors beside q, k and v.
pub(super) struct Locked<'a> {
    call: &'a Call,
    alibi_slopes: Option<View<'a>>,
    sequences: Option<(&'a Sequences, [View<'a>; 2])>,
}

impl<'a> Locked<'a> {
    pub fn new(call: &'a Call) -> Locked<'a> {
        let sequences = call.sequences.as_ref();
        Locked {
            call,
            alibi_slopes: call.alibi_slopes.as_ref().map(Tensor::storage_and_layout),
            sequences: sequences.map(|s| {
                (
                    s,
                    [&s.q.tensor, &s.k.tensor].map(Tensor::storage_and_layout),
                )
            }),
        }
    }
}

/// Work that is about to be enqueued on a stream, which first waits for what other streams do with the same memory.
pub(super) struct Launch<'a> {
    stream: &'a CudaStream,
    /// Dropped once the work is enqueued: they tell candle's other streams to wait for it.
    guards: Vec<SyncOnDrop<'a>>,
}

impl<'a> Launch<'a> {
    pub fn on(stream: &'a CudaStream) -> Launch<'a> {
        Launch {
            stream,
            guards: Vec::new(),
        }
    }

    /// Memory that the work reads.
    pub fn input<T, const N: usize>(
        &mut self,
        slice: &'a CudaSlice<T>,
        layout: &Layout,
    ) -> RawTensor<N> {
        let (ptr, guard) = slice.device_ptr(self.stream);
        self.guards.push(guard);
        raw::<T, N>(ptr, layout)
    }

    /// As [`input`](Launch::input), of a tensor.
    pub fn tensor<T: CudaDType + 'a, const N: usize>(
        &mut self,
        (storage, layout): &'a View<'a>,
    ) -> Result<RawTensor<N>, Error> {
        match &**storage {
            Storage::Cuda(storage) => Ok(self.input(storage.as_cuda_slice::<T>()?, layout)),
            other => Err(Error::Device(other.device().location())),
        }
    }

    /// Memory that the work writes, row-major.
    pub fn output<T, const N: usize>(
        &mut self,
        slice: &'a mut CudaSlice<T>,
        shape: &Shape,
    ) -> RawTensor<N> {
        let (ptr, guard) = slice.device_ptr_mut(self.stream);
        self.guards.push(guard);
        raw::<T, N>(ptr, &Layout::contiguous(shape))
    }

    /// Adds options, slopes, sequences and the stream.
    pub fn add(&mut self, locked: &'a Locked<'a>, args: RawForward) -> Result<RawForward, Error> {
        let sequences = match &locked.sequences {
            None => None,
            Some((sequences, [q, k])) => Some(RawSequences {
                batch: sequences.batch(),
                max_seqlen_q: sequences.max_seqlen_q(),
                max_seqlen_k: sequences.max_seqlen_k(),
                cu_seqlens_q: self.tensor::<u32, 1>(q)?.ptr,
                cu_seqlens_k: self.tensor::<u32, 1>(k)?.ptr,
                seqused_q: None,
                seqused_k: None,
            }),
        };
        let alibi_slopes = match &locked.alibi_slopes {
            None => None,
            Some(slopes) => {
                let RawTensor {
                    ptr,
                    shape: [num_heads],
                    ..
                } = self.tensor::<f32, 1>(slopes)?;
                let batch = sequences.map_or(args.q.shape[0], |s: RawSequences| s.batch);
                Some(RawTensor {
                    ptr,
                    shape: [batch, num_heads],
                    strides: [0, 1],
                })
            }
        };
        Ok(RawForward {
            options: locked.call.options,
            alibi_slopes,
            sequences,
            stream: self.stream.cu_stream().cast(),
            ..args
        })
    }
}

/// Address, shape and strides, with extents of 1 in front: packed sequences are one batch entry.
fn raw<T, const N: usize>(ptr: u64, layout: &Layout) -> RawTensor<N> {
    let rank = layout.dims().len();
    let dimension = |i: usize| (i + rank).checked_sub(N);
    RawTensor {
        ptr: ptr + (layout.start_offset() * size_of::<T>()) as u64,
        shape: std::array::from_fn(|i| dimension(i).map_or(1, |d| layout.dims()[d])),
        strides: std::array::from_fn(|i| dimension(i).map_or(0, |d| layout.stride()[d] as i64)),
    }
}
