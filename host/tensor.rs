//! Typed views of device memory.
//!
//! Invariant: every element of a tensor lies inside its buffer. It is checked when the tensor is made, so no safe
//! call can make a kernel touch anything else. Tensors do not compute; see [`Attention`](crate::Attention).

use std::marker::PhantomData;

use thiserror::Error;

use crate::backend::BackendError;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::element::Element;
use crate::layout;
use crate::raw::RawTensor;

/// A view of `N`-dimensional data in a [`Buffer`]: Q, K, V and O are `Tensor<T>` of shape
/// `[batch, seqlen, heads, head_dim]`, the log-sum-exp is `Tensor<f32, 3>` of shape `[batch, num_heads, seqlen_q]`.
///
/// Strides count elements, not bytes; they may be zero (every index sees the same element) or negative.
/// A clone is a second view of the same memory.
#[derive(Clone, Debug)]
pub struct Tensor<T: Element, const N: usize = 4> {
    buffer: Buffer,
    /// Element index in the buffer of the element whose indices are all zero.
    offset: usize,
    shape: [usize; N],
    strides: [i64; N],
    element: PhantomData<T>,
}

/// A tensor could not be made.
#[derive(Debug, Error)]
pub enum TensorError {
    /// Data and shape do not belong together.
    #[error("shape {shape:?} needs {needed} elements, got {got}: pass a slice of that length")]
    Length {
        /// Shape asked for.
        shape: Vec<usize>,
        /// Its number of elements.
        needed: String,
        /// Elements passed.
        got: usize,
    },
    /// A view would reach outside its buffer.
    #[error(
        "shape {shape:?} with strides {strides:?} reaches elements {low} to {high}, the buffer holds 0 to {len} \
         (exclusive): change offset, shape or strides"
    )]
    OutsideBuffer {
        /// Shape asked for.
        shape: Vec<usize>,
        /// Strides asked for.
        strides: Vec<i64>,
        /// Lowest element index reached.
        low: i128,
        /// Highest element index reached.
        high: i128,
        /// Elements in the buffer.
        len: usize,
    },
    /// There is no such part.
    #[error("index {index} of dimension {dimension} does not exist in shape {shape:?}")]
    NoSuchIndex {
        /// Dimension asked for.
        dimension: usize,
        /// Index asked for.
        index: usize,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// The device has no room or refuses the copy.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl<T: Element, const N: usize> Tensor<T, N> {
    /// Copies row-major `data` to the device.
    ///
    /// # Errors
    ///
    /// [`TensorError::Length`] when `data` has not exactly as many elements as `shape`.
    pub fn from_slice(device: &Device, shape: [usize; N], data: &[T]) -> Result<Self, TensorError> {
        let needed = checked_len(&shape, data.len())?;
        if needed != data.len() {
            return Err(length_error(&shape, needed.to_string(), data.len()));
        }
        Ok(Tensor::contiguous(Buffer::from_slice(device, data)?, shape))
    }

    /// A row-major tensor of zeros.
    ///
    /// # Errors
    ///
    /// [`TensorError::Length`] when the size does not fit in memory addresses, or the device's own error.
    pub fn zeros(device: &Device, shape: [usize; N]) -> Result<Self, TensorError> {
        let len = checked_len(&shape, 0)?;
        Tensor::from_slice(device, shape, &host_zeros(len)?)
    }

    /// A view of a buffer, for packed, sliced, broadcast or reversed data. `offset` is the element index of the
    /// element whose indices are all zero.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutsideBuffer`] when any element would lie outside the buffer.
    pub fn from_buffer(
        buffer: &Buffer,
        offset: usize,
        shape: [usize; N],
        strides: [i64; N],
    ) -> Result<Self, TensorError> {
        let len = buffer.len_bytes() / size_of::<T>();
        if let Some((low, high)) = layout::span(&shape, &strides) {
            let (low, high) = (
                low.saturating_add(offset as i128),
                high.saturating_add(offset as i128),
            );
            if low < 0 || high >= len as i128 {
                let (shape, strides) = (shape.to_vec(), strides.to_vec());
                return Err(TensorError::OutsideBuffer {
                    shape,
                    strides,
                    low,
                    high,
                    len,
                });
            }
            return Ok(Tensor {
                buffer: buffer.clone(),
                offset,
                shape,
                strides,
                element: PhantomData,
            });
        }
        Ok(Tensor {
            buffer: buffer.clone(),
            offset: 0,
            shape,
            strides,
            element: PhantomData,
        })
    }

    /// Row-major memory with unspecified contents, for a kernel to fill.
    pub(crate) fn unspecified(device: &Device, shape: [usize; N]) -> Result<Self, TensorError> {
        let len = checked_len(&shape, 0)?;
        Ok(Tensor::contiguous(
            Buffer::unspecified(device, len * size_of::<T>())?,
            shape,
        ))
    }

    fn contiguous(buffer: Buffer, shape: [usize; N]) -> Self {
        Tensor {
            buffer,
            offset: 0,
            shape,
            strides: layout::contiguous_strides(&shape),
            element: PhantomData,
        }
    }

    /// Copies the elements to the host in row-major order, whatever the strides.
    ///
    /// # Errors
    ///
    /// [`BackendError::HostMemory`] when the host has no room (a broadcast view can be larger than any memory), or the
    /// device's own, for instance a fault of an earlier kernel.
    pub fn to_vec(&self) -> Result<Vec<T>, BackendError> {
        let mut data = host_zeros(layout::num_elements(&self.shape).unwrap_or(usize::MAX))?;
        if data.is_empty() {
            return Ok(data);
        }
        let (suffix, run) = layout::contiguous_suffix(&self.shape, &self.strides);
        let outer = N - suffix;
        for (index, chunk) in data.chunks_exact_mut(run).enumerate() {
            let (mut rest, mut at) = (index, self.offset as i64);
            for i in (0..outer).rev() {
                at += (rest % self.shape[i]) as i64 * self.strides[i];
                rest /= self.shape[i];
            }
            self.buffer.read(at as usize, chunk)?;
        }
        Ok(data)
    }

    /// The part at `index` of `dimension`, without that dimension: `M` is `N - 1`. A view, nothing is copied; q, k and v
    /// of a packed `[batch, seqlen, 3, heads, head_dim]` tensor are `select(2, 0)`, `select(2, 1)` and `select(2, 2)`.
    ///
    /// # Errors
    ///
    /// [`TensorError::NoSuchIndex`] when there is no such dimension or index.
    pub fn select<const M: usize>(
        &self,
        dimension: usize,
        index: usize,
    ) -> Result<Tensor<T, M>, TensorError> {
        const { assert!(M + 1 == N, "one dimension goes") };
        if dimension >= N || index >= self.shape[dimension] {
            return Err(TensorError::NoSuchIndex {
                dimension,
                index,
                shape: self.shape.to_vec(),
            });
        }
        let rest = |i: usize| if i < dimension { i } else { i + 1 };
        let offset = self.offset as i64 + index as i64 * self.strides[dimension];
        Ok(Tensor {
            buffer: self.buffer.clone(),
            // Not negative where it matters: the part's elements are elements of this tensor.
            offset: usize::try_from(offset).unwrap_or(0),
            shape: std::array::from_fn(|i| self.shape[rest(i)]),
            strides: std::array::from_fn(|i| self.strides[rest(i)]),
            element: PhantomData,
        })
    }

    /// Extent of each dimension.
    pub fn shape(&self) -> [usize; N] {
        self.shape
    }

    /// Elements from one index to the next, for each dimension.
    pub fn strides(&self) -> [i64; N] {
        self.strides
    }

    /// The memory behind it.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        self.buffer.device()
    }

    /// Device address of the element whose indices are all zero.
    pub fn device_ptr(&self) -> u64 {
        self.buffer.device_ptr() + (self.offset * size_of::<T>()) as u64
    }

    /// Address, shape and strides, without the owner.
    pub fn as_raw(&self) -> RawTensor<N> {
        RawTensor {
            ptr: self.device_ptr(),
            shape: self.shape,
            strides: self.strides,
        }
    }
}

macro_rules! batch_of_one {
    ($($n:literal <=> $m:literal),*) => { $(
        impl<T: Element> Tensor<T, $n> {
            /// The same with a batch dimension of extent 1 in front.
            pub(crate) fn with_batch(&self) -> Tensor<T, $m> {
                let (shape, strides) = (&self.shape, &self.strides);
                Tensor {
                    buffer: self.buffer.clone(),
                    offset: self.offset,
                    shape: std::array::from_fn(|i| if i == 0 { 1 } else { shape[i - 1] }),
                    strides: std::array::from_fn(|i| if i == 0 { 0 } else { strides[i - 1] }),
                    element: PhantomData,
                }
            }
        }

        impl<T: Element> Tensor<T, $m> {
            /// The same without its batch dimension, whose extent is 1.
            pub(crate) fn without_batch(&self) -> Tensor<T, $n> {
                Tensor {
                    buffer: self.buffer.clone(),
                    offset: self.offset,
                    shape: std::array::from_fn(|i| self.shape[i + 1]),
                    strides: std::array::from_fn(|i| self.strides[i + 1]),
                    element: PhantomData,
                }
            }
        }
    )* };
}
batch_of_one!(3 <=> 4, 2 <=> 3);

/// Elements of `shape`; their bytes fit in an allocation (of at most `isize::MAX` bytes, as everywhere in Rust).
fn checked_len(shape: &[usize], got: usize) -> Result<usize, TensorError> {
    layout::num_elements(shape)
        .filter(|&len| len <= isize::MAX as usize / 8)
        .ok_or_else(|| length_error(shape, "more than 2^60".into(), got))
}

fn host_zeros<T: Element>(len: usize) -> Result<Vec<T>, BackendError> {
    let mut zeros = Vec::new();
    let reserved = zeros.try_reserve_exact(len);
    reserved.map_err(|_| BackendError::HostMemory {
        bytes: len as u128 * size_of::<T>() as u128,
    })?;
    zeros.resize(len, T::zeroed());
    Ok(zeros)
}

fn length_error(shape: &[usize], needed: String, got: usize) -> TensorError {
    TensorError::Length {
        shape: shape.to_vec(),
        needed,
        got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_can_hold_is_an_error() {
        let device = Device::emulated();
        let buffer = Buffer::from_slice(&device, &[0f32; 4]).unwrap();
        let broadcast = Tensor::<f32, 2>::from_buffer(&buffer, 0, [1 << 40; 2], [0; 2]).unwrap();
        assert!(matches!(
            broadcast.to_vec(),
            Err(BackendError::HostMemory { .. })
        ));
        assert!(Tensor::<f32, 2>::zeros(&device, [1 << 40, 1 << 17]).is_err());
        let empty = Tensor::<f32, 3>::from_slice(&device, [0, usize::MAX, 2], &[]).unwrap();
        assert_eq!(empty.to_vec().unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn a_view_outside_its_buffer_is_refused() {
        let buffer = Buffer::from_slice(&Device::emulated(), &[0f32; 24]).unwrap();
        let view =
            |offset, shape, strides| Tensor::<f32, 2>::from_buffer(&buffer, offset, shape, strides);
        assert!(view(0, [3, 8], [8, 1]).is_ok());
        assert!(view(1, [3, 8], [8, 1]).is_err());
        assert!(view(0, [4, 8], [8, 1]).is_err());
        assert!(view(15, [3, 8], [-8, 1]).is_err());
        assert!(view(16, [3, 8], [-8, 1]).is_ok());
        assert!(view(0, [usize::MAX, usize::MAX], [i64::MAX, i64::MAX]).is_err());
        assert!(
            view(99, [0, 8], [8, 1]).is_ok(),
            "a view without elements reaches nothing"
        );
    }

    #[test]
    fn to_vec_reads_in_row_major_order_whatever_the_strides() {
        let data: Vec<f32> = (0..24u8).map(f32::from).collect();
        let buffer = Buffer::from_slice(&Device::emulated(), &data).unwrap();
        let view = |offset, shape, strides| {
            Tensor::<f32, 3>::from_buffer(&buffer, offset, shape, strides).unwrap()
        };
        assert_eq!(view(0, [2, 3, 4], [12, 4, 1]).to_vec().unwrap(), data);
        assert_eq!(
            view(5, [2, 1, 2], [8, 0, 1]).to_vec().unwrap(),
            [5., 6., 13., 14.]
        );
        assert_eq!(
            view(20, [2, 1, 2], [-20, 0, 2]).to_vec().unwrap(),
            [20., 22., 0., 2.]
        );
        assert_eq!(view(3, [2, 2, 1], [0, 0, 1]).to_vec().unwrap(), [3.; 4]);
    }

    #[test]
    fn select_is_the_part_at_an_index_and_copies_nothing() {
        let data: Vec<f32> = (0..24u8).map(f32::from).collect();
        let packed = Tensor::<f32, 3>::from_slice(&Device::emulated(), [2, 3, 4], &data).unwrap();
        let part: Tensor<f32, 2> = packed.select(1, 2).unwrap();
        assert_eq!((part.shape(), part.strides()), ([2, 4], [12, 1]));
        assert_eq!(
            part.to_vec().unwrap(),
            [8., 9., 10., 11., 20., 21., 22., 23.]
        );
        assert_eq!(part.buffer().device_ptr(), packed.buffer().device_ptr());
        assert_eq!(
            packed.select::<2>(0, 1).unwrap().to_vec().unwrap(),
            data[12..]
        );
        for (dimension, index) in [(3, 0), (1, 3)] {
            let error = packed.select::<2>(dimension, index).unwrap_err();
            assert!(matches!(error, TensorError::NoSuchIndex { .. }), "{error}");
        }
        let empty = Tensor::<f32, 3>::zeros(&Device::emulated(), [2, 3, 0]).unwrap();
        assert_eq!(empty.select::<2>(0, 1).unwrap().shape(), [3, 0]);
    }

    #[test]
    fn a_slice_of_the_wrong_length_is_refused_with_both_numbers() {
        let error =
            Tensor::<f32, 2>::from_slice(&Device::emulated(), [3, 8], &[0.; 23]).unwrap_err();
        assert!(error.to_string().contains("24 elements, got 23"), "{error}");
        let huge = Tensor::<f32, 2>::zeros(&Device::emulated(), [usize::MAX, 8]).unwrap_err();
        assert!(huge.to_string().contains("more than 2^60"), "{huge}");
    }
}
