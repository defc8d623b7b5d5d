//! Running a case, and the rule that it must hold.

use flash_attention::reference::{Gradients, Reference, Spec};
use flash_attention::rule::{
    self, BiasGradient, GradientReport, GradientSlices, Tolerance, compare_gradients,
};
use flash_attention::{AttentionElement, Bias, Device, Tensor, reference};

use super::{BiasKind, Case, Devices, in_dtype};

/// Results of a forward and a backward pass, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Training<T> {
    pub out: Vec<T>,
    pub lse: Vec<f32>,
    pub gradients: GradientsOnHost<T>,
    /// The kernels that ran, in order.
    pub entries: Vec<&'static str>,
}

/// Gradients, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientsOnHost<T> {
    pub d_q: Vec<T>,
    pub d_k: Vec<T>,
    pub d_v: Vec<T>,
    pub d_bias: Option<Vec<f64>>,
}

impl<T: AttentionElement> GradientsOnHost<T> {
    pub fn read(d: [&Tensor<T>; 3], d_bias: Option<&Bias>) -> GradientsOnHost<T> {
        let [d_q, d_k, d_v] = d.map(|tensor| tensor.to_vec().unwrap());
        GradientsOnHost {
            d_q,
            d_k,
            d_v,
            d_bias: d_bias.map(|d_bias| d_bias.to_f64().unwrap()),
        }
    }

    /// The comparison with a reference and the plain method in low precision.
    pub fn judge(
        &self,
        spec: &Spec,
        kind: Option<BiasKind>,
        [exact, low]: [&Gradients; 2],
    ) -> GradientReport {
        let d_bias = self.d_bias.iter().flatten();
        let as_f32: Vec<f32> = d_bias.clone().map(|&x| x as f32).collect();
        let as_element: Vec<T> = d_bias.map(|&x| T::from_f64(x)).collect();
        let slices = GradientSlices {
            d_q: &self.d_q,
            d_k: &self.d_k,
            d_v: &self.d_v,
            d_bias: kind.map(|kind| match kind.is_f32 {
                true => BiasGradient::F32(&as_f32),
                false => BiasGradient::Element(&as_element),
            }),
        };
        compare_gradients(spec, &slices, exact, low).unwrap()
    }
}

impl Case {
    /// q, k and v on `device`.
    pub fn upload<T: AttentionElement>(&self, device: &Device) -> [Tensor<T>; 3] {
        let [q, k, v] = self.inputs::<T>();
        let place = |shape, data: &[T]| Tensor::from_slice(device, shape, data).unwrap();
        let (q_shape, k_shape) = (self.q_shape(), self.k_shape());
        [place(q_shape, &q), place(k_shape, &k), place(k_shape, &v)]
    }

    /// Runs the case forward and returns output and log-sum-exp in row-major order.
    pub fn run<T: AttentionElement>(&self, device: &Device) -> (Vec<T>, Vec<f32>, &'static str) {
        let [q, k, v] = self.upload::<T>(device);
        let result = self
            .attention(device)
            .forward(&q, &k, &v)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let entry = result
            .variant
            .map_or("no kernel", |variant| variant.entry());
        (
            result.out.to_vec().unwrap(),
            result.lse.to_vec().unwrap(),
            entry,
        )
    }

    /// Runs the case forward and backward.
    pub fn train<T: AttentionElement>(&self, device: &Device) -> Training<T> {
        let d_out = Tensor::from_slice(device, self.q_shape(), &self.d_out::<T>()).unwrap();
        self.train_with(device, &d_out)
    }

    /// As [`train`](Case::train), with a gradient of the output of the caller.
    pub fn train_with<T: AttentionElement>(
        &self,
        device: &Device,
        d_out: &Tensor<T>,
    ) -> Training<T> {
        let [q, k, v] = self.upload::<T>(device);
        let d_lse = self
            .d_lse_values()
            .map(|d_lse| Tensor::from_slice(device, self.lse_shape(), &d_lse).unwrap());
        let attention = self.attention(device);
        let run = || {
            let forward = attention.forward(&q, &k, &v)?;
            let gradients = attention.backward([&q, &k, &v], &forward, d_out, d_lse.as_ref())?;
            Ok((forward, gradients))
        };
        let (forward, gradients) =
            run().unwrap_or_else(|error: flash_attention::Error| panic!("{self:?}: {error}"));
        let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
        let backward = gradients.variants.iter().map(|variant| variant.entry());
        Training {
            out: forward.out.to_vec().unwrap(),
            lse: forward.lse.to_vec().unwrap(),
            gradients: GradientsOnHost::read(d, gradients.d_bias.as_ref()),
            entries: forward
                .variant
                .iter()
                .map(|v| v.entry())
                .chain(backward)
                .collect(),
        }
    }

    /// Runs the case forward on each device and panics unless it holds FlashAttention's rule.
    pub fn assert_exact(&self, devices: &(impl Devices + ?Sized)) {
        in_dtype!(self.dtype, self.assert_exact_in(self.devices(devices)));
    }

    fn assert_exact_in<T: AttentionElement>(&self, devices: &[Device]) {
        let references = self.references::<T>();
        for device in devices {
            let (out, lse, entry) = self.run::<T>(device);
            self.assert_near(entry, &out, &lse, &references);
        }
    }

    /// Panics unless `out` and `lse` hold the rule for this case's inputs.
    pub fn assert_rule<T: AttentionElement>(&self, entry: &str, out: &[T], lse: &[f32]) {
        self.assert_near(entry, out, lse, &self.references::<T>());
    }

    fn assert_near<T: AttentionElement>(
        &self,
        entry: &str,
        out: &[T],
        lse: &[f32],
        [exact, low]: &[Reference; 2],
    ) {
        let report = rule::compare(&self.spec(), out, lse, exact, low).unwrap();
        assert!(report.passed(), "{entry} {self:?}: {report}");
    }

    /// The reference, and the plain method in low precision.
    fn references<T: AttentionElement>(&self) -> [Reference; 2] {
        let ([q, k, v], spec) = (self.inputs::<T>(), self.spec());
        [
            reference::forward(&spec, &q, &k, &v).unwrap(),
            reference::forward_low_precision(&spec, &q, &k, &v).unwrap(),
        ]
    }

    /// Runs the case forward and backward on each device and panics unless output, log-sum-exp and all gradients hold
    /// the rule.
    pub fn assert_gradients_exact(&self, devices: &(impl Devices + ?Sized)) {
        self.assert_gradients_within(devices, Tolerance::GRADIENTS);
    }

    /// As [`assert_gradients_exact`](Case::assert_gradients_exact), with another tolerance for the gradients.
    pub fn assert_gradients_within(&self, devices: &(impl Devices + ?Sized), tolerance: Tolerance) {
        let devices = self.devices(devices);
        in_dtype!(
            self.dtype,
            self.assert_gradients_within_in(devices, tolerance)
        );
    }

    fn assert_gradients_within_in<T: AttentionElement>(
        &self,
        devices: &[Device],
        tolerance: Tolerance,
    ) {
        let forward = self.references::<T>();
        let backward = self.gradient_references(&self.d_out::<T>());
        for device in devices {
            let got = self.train::<T>(device);
            let entries = got.entries.join(", ");
            self.assert_near(&entries, &got.out, &got.lse, &forward);
            let report = self.judge(&got.gradients, &backward).within(tolerance);
            assert!(report.passed(), "{entries} {self:?}: {report}");
        }
    }

    /// Panics unless output, log-sum-exp and gradients hold the rule for this case's inputs.
    pub fn assert_training_rule<T: AttentionElement>(
        &self,
        got: &Training<T>,
        tolerance: Tolerance,
    ) {
        let entries = got.entries.join(", ");
        self.assert_rule(&entries, &got.out, &got.lse);
        let report = self.gradient_report(&got.gradients).within(tolerance);
        assert!(report.passed(), "{entries} {self:?}: {report}");
    }

    /// How far gradients are from those of this case's inputs.
    pub fn gradient_report<T: AttentionElement>(&self, got: &GradientsOnHost<T>) -> GradientReport {
        self.gradient_report_for(got, &self.d_out())
    }

    /// As [`gradient_report`](Case::gradient_report), with a gradient of the output of the caller.
    pub fn gradient_report_for<T: AttentionElement>(
        &self,
        got: &GradientsOnHost<T>,
        d_out: &[T],
    ) -> GradientReport {
        self.judge(got, &self.gradient_references(d_out))
    }

    fn judge<T: AttentionElement>(
        &self,
        got: &GradientsOnHost<T>,
        [exact, low]: &[Gradients; 2],
    ) -> GradientReport {
        got.judge(&self.spec(), self.bias, [exact, low])
    }

    fn gradient_references<T: AttentionElement>(&self, d_out: &[T]) -> [Gradients; 2] {
        let ([q, k, v], d_lse) = (self.inputs::<T>(), self.d_lse_values());
        let (spec, d_lse) = (self.spec(), d_lse.as_deref());
        [
            reference::backward(&spec, &q, &k, &v, d_out, d_lse).unwrap(),
            reference::backward_low_precision(&spec, &q, &k, &v, d_out, d_lse).unwrap(),
        ]
    }
}
