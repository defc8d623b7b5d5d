//! What is trained, and how it is moved.

use ndarray::{Array2, Zip};

/// A trained matrix.
pub struct Parameter {
    /// Its elements.
    pub value: Array2<f64>,
    /// Gradient of the loss; layers add to it, [`Adam::update`] sets it back to 0.
    pub gradient: Array2<f64>,
    /// Running mean of the gradient.
    mean: Array2<f64>,
    /// Running mean of the squared gradient.
    square: Array2<f64>,
}

impl Parameter {
    /// Starts at `value`.
    pub fn new(value: Array2<f64>) -> Parameter {
        let zeros = Array2::zeros(value.dim());
        Parameter {
            value,
            gradient: zeros.clone(),
            mean: zeros.clone(),
            square: zeros,
        }
    }

    /// Random elements, uniformly distributed, with this standard deviation.
    pub fn random(
        [rows, columns]: [usize; 2],
        deviation: f64,
        random: &mut fastrand::Rng,
    ) -> Parameter {
        let bound = 3f64.sqrt() * deviation;
        let uniform = || bound * (2.0 * random.f64() - 1.0);
        Parameter::new(Array2::from_shape_simple_fn((rows, columns), uniform))
    }
}

/// One step of Adam (Kingma and Ba, arXiv:1412.6980).
pub struct Adam {
    learning_rate: f64,
    /// What the running means are divided by because they started at 0.
    corrections: [f64; 2],
}

impl Adam {
    /// Learning rate where it is highest.
    const LEARNING_RATE: f64 = 1e-2;
    /// Steps over which the learning rate rises to that.
    const WARM_UP: f64 = 20.0;
    /// Decay of the means of the gradient and of its square.
    const DECAYS: [f64; 2] = [0.9, 0.99];
    const EPSILON: f64 = 1e-8;

    /// Step `step` of `steps`: the learning rate rises linearly, then falls as a cosine to a tenth.
    pub fn at(step: usize, steps: usize) -> Adam {
        let (done, all) = (step as f64 + 1.0, steps as f64);
        let cosine = 0.5 + 0.5 * (std::f64::consts::PI * done / all).cos();
        Adam {
            learning_rate: Adam::LEARNING_RATE
                * (done / Adam::WARM_UP).min(1.0)
                * (0.1 + 0.9 * cosine),
            corrections: Adam::DECAYS.map(|decay| 1.0 - decay.powf(done)),
        }
    }

    /// Moves the parameter against its gradient and clears the gradient.
    pub fn update(&self, parameter: &mut Parameter) {
        let [mean_decay, square_decay] = Adam::DECAYS;
        let [mean_correction, square_correction] = self.corrections;
        Zip::from(&mut parameter.value)
            .and(&mut parameter.gradient)
            .and(&mut parameter.mean)
            .and(&mut parameter.square)
            .for_each(|value, gradient, mean, square| {
                *mean += (1.0 - mean_decay) * (*gradient - *mean);
                *square += (1.0 - square_decay) * (*gradient * *gradient - *square);
                let scale = (*square / square_correction).sqrt() + Adam::EPSILON;
                *value -= self.learning_rate * *mean / mean_correction / scale;
                *gradient = 0.0;
            });
    }
}
