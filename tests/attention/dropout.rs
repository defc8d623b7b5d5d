//! The dropout mask, read off the kernels: with equal scores every probability is the same, and with rows of the unit
//! matrix in the place of V (forward) or of dO (backward) the results are the probabilities, one by one.

use crate::common::{DTYPES, device, in_dtype};
use flash_attention::{
    Attention, AttentionElement, Buffer, CuSeqlens, Device, Dropout, Tensor, bf16,
};

const HEAD_DIMS: [usize; 6] = [32, 64, 96, 128, 192, 256];

/// Where a mask is read: two batch entries of three heads, `[batch, head, row, column]`.
#[derive(Clone, Copy, Debug)]
struct Reading {
    dropout: Dropout,
    seqlen_q: usize,
    seqlen_k: usize,
    head_dim: usize,
    /// Elements before each tensor in its buffer: an odd number selects the kernels for unaligned tensors.
    offset: usize,
}

const BATCH: usize = 2;
const HEADS: usize = 3;

impl Reading {
    fn tensor<T: AttentionElement>(
        &self,
        device: &Device,
        seqlen: usize,
        value: impl Fn(usize, usize) -> f64,
    ) -> Tensor<T> {
        let element = |at: usize| value(at / self.head_dim / HEADS % seqlen, at % self.head_dim);
        let len = BATCH * seqlen * HEADS * self.head_dim;
        let unused = std::iter::repeat_n(T::from_f64(0.0), self.offset);
        let values = (0..len).map(|at| T::from_f64(element(at)));
        let values: Vec<T> = unused.chain(values).collect();
        let buffer = Buffer::from_slice(device, &values).unwrap();
        let row = HEADS * self.head_dim;
        let strides = [seqlen * row, row, self.head_dim, 1].map(|stride| stride as i64);
        let shape = [BATCH, seqlen, HEADS, self.head_dim];
        Tensor::from_buffer(&buffer, self.offset, shape, strides).unwrap()
    }

    /// The mask that the forward kernel applies.
    fn forward<T: AttentionElement>(&self, device: &Device) -> Vec<bool> {
        let zeros = |seqlen| self.tensor::<T>(device, seqlen, |_, _| 0.0);
        let (q, k) = (zeros(self.seqlen_q), zeros(self.seqlen_k));
        let attention = Attention::new().dropout(self.dropout);
        let mut mask = self.empty();
        for first in (0..self.seqlen_k).step_by(self.head_dim) {
            let unit = |j: usize, d: usize| f64::from(u8::from(j == first + d));
            let v = self.tensor::<T>(device, self.seqlen_k, unit);
            let out = attention.forward(&q, &k, &v).unwrap().out.to_vec().unwrap();
            self.read(&out, self.seqlen_q, |row, d| (row, first + d), &mut mask);
        }
        mask
    }

    /// The mask that the backward kernels apply.
    fn backward<T: AttentionElement>(&self, device: &Device) -> Vec<bool> {
        let zeros = |seqlen| self.tensor::<T>(device, seqlen, |_, _| 0.0);
        let (q, k) = (zeros(self.seqlen_q), zeros(self.seqlen_k));
        let attention = Attention::new().dropout(self.dropout);
        let forward = attention.forward(&q, &k, &k).unwrap();
        let mut mask = self.empty();
        for first in (0..self.seqlen_q).step_by(self.head_dim) {
            let unit = |i: usize, d: usize| f64::from(u8::from(i == first + d));
            let d_out = self.tensor::<T>(device, self.seqlen_q, unit);
            let gradients = attention.backward([&q, &k, &k], &forward, &d_out, None);
            let d_v = gradients.unwrap().d_v.to_vec().unwrap();
            self.read(&d_v, self.seqlen_k, |row, d| (first + d, row), &mut mask);
        }
        mask
    }

    fn empty(&self) -> Vec<bool> {
        vec![false; BATCH * HEADS * self.seqlen_q * self.seqlen_k]
    }

    /// Copies the probabilities in `x` that are not 0 to their places; an element (row, column of the head) that is
    /// kept has 1 / (seqlen_k · (1 - p)), and nothing else may have anything.
    fn read<T: AttentionElement>(
        &self,
        x: &[T],
        seqlen: usize,
        place: impl Fn(usize, usize) -> (usize, usize),
        mask: &mut [bool],
    ) {
        let kept = 1.0 - self.dropout.effective_probability().unwrap();
        let want = 1.0 / (self.seqlen_k as f64 * kept);
        for (at, x) in x.iter().enumerate().filter(|(_, x)| x.to_f64() != 0.0) {
            assert!(
                (x.to_f64() / want - 1.0).abs() < 0.01,
                "{x:?}, want {want}: {self:?}"
            );
            let (d, head) = (at % self.head_dim, at / self.head_dim % HEADS);
            let (row, batch) = (
                at / self.head_dim / HEADS % seqlen,
                at / self.head_dim / HEADS / seqlen,
            );
            let (i, j) = place(row, d);
            mask[((batch * HEADS + head) * self.seqlen_q + i) * self.seqlen_k + j] = true;
        }
    }

    /// The mask that [`Dropout::is_kept`] promises.
    fn promised(&self) -> Vec<bool> {
        let (rows, keys) = (self.seqlen_q, self.seqlen_k);
        (0..BATCH * HEADS * rows * keys)
            .map(|at| {
                let (head, row) = (at / keys / rows % HEADS, at / keys % rows);
                let batch = at / keys / rows / HEADS;
                self.dropout
                    .is_kept([batch, HEADS], head, row, at % keys)
                    .unwrap()
            })
            .collect()
    }

    fn assert_promised<T: AttentionElement>(&self, device: &Device) {
        let want = self.promised();
        assert!(
            self.forward::<T>(device) == want,
            "forward {} {self:?}",
            T::DTYPE.name()
        );
        assert!(
            self.backward::<T>(device) == want,
            "backward {} {self:?}",
            T::DTYPE.name()
        );
    }
}

#[test]
fn kernels_of_every_tiling_drop_what_is_promised() {
    let device = device();
    for (i, head_dim) in HEAD_DIMS.into_iter().enumerate() {
        for (j, dtype) in DTYPES.into_iter().enumerate() {
            let reading = Reading {
                dropout: Dropout {
                    probability: [0.17, 0.5, 0.9][(i + j) % 3],
                    seed: 0xfeed_beef_0123_4567 + i as u64,
                    offset: u64::MAX - 2 + j as u64,
                },
                seqlen_q: [90, 161][j],
                seqlen_k: [140, 77][j],
                head_dim,
                offset: (i + j) % 2,
            };
            in_dtype!(dtype, reading.assert_promised(&device));
        }
    }
}

#[test]
fn the_measured_share_is_the_probability() {
    for probability in [0.1, 0.17, 0.5, 0.83] {
        let reading = Reading {
            dropout: Dropout::new(probability, 42),
            seqlen_q: 128,
            seqlen_k: 128,
            head_dim: 128,
            offset: 0,
        };
        let mask = reading.forward::<bf16>(&device());
        let dropped = mask.iter().filter(|is_kept| !**is_kept).count();
        let share = dropped as f32 / mask.len() as f32;
        assert!(
            (share - probability).abs() < 0.01,
            "{share}, want {probability}"
        );
    }
}

#[test]
fn masks_do_not_depend_on_lengths_and_depend_on_seed_and_offset() {
    let device = device();
    let reading = |dropout, seqlen_q, seqlen_k| Reading {
        dropout,
        seqlen_q,
        seqlen_k,
        head_dim: 64,
        offset: 0,
    };
    let dropout = Dropout::new(0.4, 7);
    let (small, large) = (reading(dropout, 20, 30), reading(dropout, 150, 200));
    let (of_small, of_large) = (
        small.forward::<bf16>(&device),
        large.forward::<bf16>(&device),
    );
    for (at, is_kept) in of_small.iter().enumerate() {
        let (head, i, j) = (at / 600, at / 30 % 20, at % 30);
        assert_eq!(*is_kept, of_large[(head * 150 + i) * 200 + j]);
    }
    let mask = |dropout| reading(dropout, 20, 30).forward::<bf16>(&device);
    let other_seed = mask(Dropout { seed: 8, ..dropout });
    assert!(
        other_seed != of_small
            && mask(Dropout {
                seed: 7 + (1 << 32),
                ..dropout
            }) != of_small
    );
    // An offset of one head moves the masks by one head: a call uses batch * num_heads of them.
    let moved = mask(Dropout {
        offset: 1,
        ..dropout
    });
    assert_eq!(moved[..5 * 600], of_small[600..]);
    let next = mask(Dropout {
        offset: 6,
        ..dropout
    });
    assert!(
        next.chunks(600)
            .all(|head| of_small.chunks(600).all(|other| head != other))
    );
}

#[test]
fn probabilities_are_rounded_to_multiples_of_2_to_the_minus_16() {
    let effective = |p| Dropout::new(p, 0).effective_probability().unwrap();
    assert_eq!(effective(0.0), 0.0);
    assert_eq!(effective(0.5), 0.5);
    assert_eq!(effective(0.17), 11141.0 / 65536.0);
    assert_eq!(effective(1e-6), 0.0);
    assert_eq!(effective(1.0 - 1.0 / 65536.0), 65535.0 / 65536.0);
    // Nothing is dropped where the probability rounds to 0.
    let reading = Reading {
        dropout: Dropout::new(1e-6, 3),
        seqlen_q: 64,
        seqlen_k: 64,
        head_dim: 64,
        offset: 0,
    };
    assert!(
        reading
            .forward::<bf16>(&device())
            .iter()
            .all(|&is_kept| is_kept)
    );
}

#[test]
fn the_log_sum_exp_is_that_without_dropout() {
    let device = device();
    let case = crate::common::Case::new(flash_attention::Dtype::Bf16, 50, 70, 64);
    let (_, plain, _) = case.run::<bf16>(&device);
    let (_, dropped, _) = case.dropout(0.9).run::<bf16>(&device);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(plain.iter().zip(&dropped).all(close));
}

#[test]
fn packed_sequences_have_the_masks_of_their_number_in_the_batch() {
    let device = device();
    let (rows, keys, head_dim) = (30, 40, 64);
    let dropout = Dropout::new(0.4, 99);
    let sequences = CuSeqlens::new(&device, &[0, rows, 2 * rows], &[0, keys, 2 * keys]).unwrap();
    let shape = |rows: i32| [2 * rows as usize, HEADS, head_dim];
    let zeros = |rows| Tensor::<bf16, 3>::zeros(&device, shape(rows)).unwrap();
    let element = |at: usize| at / head_dim / HEADS % keys as usize == at % head_dim;
    let unit: Vec<bf16> = (0..shape(keys).iter().product())
        .map(|at| bf16::from_f32(f32::from(u8::from(element(at)))))
        .collect();
    let v = Tensor::from_slice(&device, shape(keys), &unit).unwrap();
    let result = Attention::new()
        .dropout(dropout)
        .forward_varlen([&zeros(rows), &zeros(keys), &v], &sequences)
        .unwrap();
    for (at, x) in result.out.to_vec().unwrap().iter().enumerate() {
        let (j, head, row) = (at % head_dim, at / head_dim % HEADS, at / head_dim / HEADS);
        let (batch, i) = (row / rows as usize, row % rows as usize);
        let is_kept = j < keys as usize && dropout.is_kept([batch, HEADS], head, i, j).unwrap();
        assert_eq!(
            *x != bf16::ZERO,
            is_kept,
            "batch {batch} head {head} row {i} key {j}"
        );
    }
}
