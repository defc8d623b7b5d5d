//! Losses that depend on the log-sum-exp, and what that is for: attention over parts of the keys, merged, is attention
//! over all of them, gradients included.

use crate::common::{Case, DTYPES, GradientsOnHost, devices, in_dtype};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{AttentionElement, Device, Tensor, f16};

#[test]
fn a_loss_of_the_log_sum_exp_alone_leaves_values_without_gradient() {
    for device in devices() {
        for (i, head_dim) in [32, 64, 96, 128, 192, 256].into_iter().enumerate() {
            let case = Case::new(DTYPES[i % 2], 90, 130, head_dim)
                .batch(2)
                .heads(4, 2)
                .d_lse();
            let case = case.causal(i % 3 == 0);
            in_dtype!(case.dtype, case.assert_no_gradient_of_values(&device));
        }
    }
}

impl Case {
    fn assert_no_gradient_of_values<T: AttentionElement>(&self, device: &Device) {
        let zeros = Tensor::<T>::zeros(device, self.q_shape()).unwrap();
        let got = self.train_with(device, &zeros);
        let zero = T::from_f64(0.0);
        assert!(got.gradients.d_v.iter().all(|&x| x == zero), "{self:?}");
        let d_out = vec![zero; got.out.len()];
        let report = self.gradient_report_for(&got.gradients, &d_out);
        assert!(report.passed(), "{:?} {self:?}: {report}", got.entries);
        let largest = report.d_q.worst.want.abs();
        assert!(largest > 1e-4, "there is something to see: {largest}");
    }
}

#[test]
fn no_gradient_of_the_log_sum_exp_is_a_gradient_of_zeros() {
    for device in devices() {
        for case in [
            Case::new(F16, 90, 130, 64).heads(2, 1).deterministic(),
            Case::new(F16, 130, 70, 128).causal(true).deterministic(),
            Case::new(F16, 65, 70, 40).dropout(0.2).deterministic(),
        ] {
            let [q, k, v] = case.upload::<f16>(&device);
            let attention = case.attention(&device);
            let forward = attention.forward(&q, &k, &v).unwrap();
            let zeros = Tensor::<f32, 3>::zeros(&device, case.lse_shape()).unwrap();
            let gradients = |d_lse| {
                let gradients = attention
                    .backward([&q, &k, &v], &forward, &q, d_lse)
                    .unwrap();
                let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
                GradientsOnHost::read(d, None)
            };
            assert!(gradients(None) == gradients(Some(&zeros)), "{case:?}");
        }
    }
}

/// Rows `keys` of every head of row-major k or v.
fn part<T: Copy>(case: &Case, x: &[T], keys: std::ops::Range<usize>) -> Vec<T> {
    let row = case.num_heads_k * case.head_dim;
    let entries = x.chunks(case.seqlen_k * row);
    let parts = entries.flat_map(|entry| &entry[keys.start * row..keys.end * row]);
    parts.copied().collect()
}

impl Case {
    /// Attention over the keys before `split` and over those from there on, merged by their log-sum-exps;
    /// `[d_q, d_k, d_v]` of the whole from the gradients of both.
    fn merged_gradients<T: AttentionElement>(
        &self,
        device: &Device,
        split: usize,
    ) -> [Vec<f64>; 3] {
        let [q, k, v] = self.inputs::<T>();
        let d_out = self.d_out::<T>();
        let q = Tensor::from_slice(device, self.q_shape(), &q).unwrap();
        let attention = self.attention(device);
        let parts = [0..split, split..self.seqlen_k].map(|keys| {
            let shape = [self.batch, keys.len(), self.num_heads_k, self.head_dim];
            [&k, &v]
                .map(|x| Tensor::from_slice(device, shape, &part(self, x, keys.clone())).unwrap())
        });
        let forwards = parts
            .each_ref()
            .map(|[k, v]| attention.forward(&q, k, v).unwrap());
        let outs = forwards
            .each_ref()
            .map(|forward| forward.out.to_vec().unwrap());
        let lses = forwards
            .each_ref()
            .map(|forward| forward.lse.to_vec().unwrap());
        let rows = self.batch * self.seqlen_q * self.num_heads;
        // out = sum of w · out of a part, with w = exp(lse of the part - lse).
        let mut d_outs = [Vec::new(), Vec::new()];
        let mut d_lses = [vec![0f32; rows], vec![0f32; rows]];
        for row in 0..rows {
            let (head, i) = (row % self.num_heads, row / self.num_heads % self.seqlen_q);
            let batch = row / self.num_heads / self.seqlen_q;
            let at = (batch * self.num_heads + head) * self.seqlen_q + i;
            let elements = row * self.head_dim..(row + 1) * self.head_dim;
            let d_out = d_out[elements.clone()].iter().map(|x| x.to_f64());
            let dots = outs.each_ref().map(|out| {
                let out = out[elements.clone()].iter().map(|x| x.to_f64());
                d_out.clone().zip(out).map(|(a, b)| a * b).sum::<f64>()
            });
            let [a, b] = lses.each_ref().map(|lse| f64::from(lse[at]));
            let w = [1.0 / (1.0 + (b - a).exp()), 1.0 / (1.0 + (a - b).exp())];
            let dot = w[0] * dots[0] + w[1] * dots[1];
            for side in 0..2 {
                d_outs[side].extend(d_out.clone().map(|x| T::from_f64(w[side] * x)));
                d_lses[side][at] = (w[side] * (dots[side] - dot)) as f32;
            }
        }
        let gradients = [0, 1].map(|side| {
            let [k, v] = &parts[side];
            let d_out = Tensor::from_slice(device, self.q_shape(), &d_outs[side]).unwrap();
            let d_lse = Tensor::from_slice(device, self.lse_shape(), &d_lses[side]).unwrap();
            let gradients = attention
                .backward([&q, k, v], &forwards[side], &d_out, Some(&d_lse))
                .unwrap();
            [gradients.d_q, gradients.d_k, gradients.d_v].map(|x| {
                x.to_vec()
                    .unwrap()
                    .into_iter()
                    .map(T::to_f64)
                    .collect::<Vec<f64>>()
            })
        });
        let [[d_q, d_k, d_v], [other_d_q, other_d_k, other_d_v]] = gradients;
        let sum = d_q.iter().zip(&other_d_q).map(|(a, b)| a + b).collect();
        [
            sum,
            self.joined(split, d_k, other_d_k),
            self.joined(split, d_v, other_d_v),
        ]
    }

    /// The rows of both parts, entry by entry.
    fn joined(&self, split: usize, a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
        let row = self.num_heads_k * self.head_dim;
        let entries = a
            .chunks(split * row)
            .zip(b.chunks((self.seqlen_k - split) * row));
        entries.flat_map(|(a, b)| [a, b].concat()).collect()
    }

    fn assert_merge_is_exact<T: AttentionElement>(&self, device: &Device, split: usize) {
        let [d_q, d_k, d_v] = self
            .merged_gradients::<T>(device, split)
            .map(|x| x.into_iter().map(T::from_f64).collect::<Vec<T>>());
        let got = GradientsOnHost {
            d_q,
            d_k,
            d_v,
            d_bias: None,
        };
        let report = self.gradient_report(&got);
        assert!(report.passed(), "{self:?}, split at {split}: {report}");
    }
}

#[test]
fn gradients_of_merged_halves_are_those_of_the_whole() {
    for device in devices() {
        for (case, split) in [
            (Case::new(F16, 70, 128, 64).heads(4, 2), 64),
            (Case::new(Bf16, 70, 128, 64).batch(2), 64),
            (Case::new(F16, 33, 200, 128), 37),
            (Case::new(Bf16, 129, 150, 32).softcap(10.0), 1),
        ] {
            in_dtype!(case.dtype, case.assert_merge_is_exact(&device, split));
        }
    }
}
