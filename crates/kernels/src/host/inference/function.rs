//! Functions of single numbers: activations other than bounds.

/// A function of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `min(max(α · x + β, 0), 1)`.
    HardSigmoid {
        /// α.
        alpha: f32,
        /// β.
        beta: f32,
    },
    /// `x · min(max(x / 6 + 1/2, 0), 1)` (Howard et al. 2019, arXiv:1905.02244).
    HardSwish,
    /// `x · sigmoid(x)`, also called Swish (Ramachandran et al. 2017, arXiv:1710.05941).
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` where it is positive, else `α · (exp(x) − 1)` (Clevert et al. 2015, arXiv:1511.07289).
    Elu {
        /// α.
        alpha: f32,
    },
    /// `x / 2 · (1 + erf(x / √2))` (Hendrycks and Gimpel 2016, arXiv:1606.08415).
    Gelu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, which is nearly [`Function::Gelu`].
    GeluTanh,
    /// The error function.
    Erf,
    /// `exp(x)`.
    Exp,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x · tanh(softplus(x))` (Misra 2019, arXiv:1908.08681).
    Mish,
}

impl Function {
    /// The numbers that it is given by, 0 in place of those that it does not have.
    pub fn parameters(self) -> [f32; 2] {
        match self {
            Self::HardSigmoid { alpha, beta } => [alpha, beta],
            Self::Elu { alpha } => [alpha, 0.0],
            _ => [0.0; 2],
        }
    }
}
