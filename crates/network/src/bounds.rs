//! What bounds the numbers of a result.

/// Least and greatest value: `min(max(x, low), high)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
    /// `max(0, x)`.
    pub const RELU: Self = Self { low: 0.0, high: f64::INFINITY };
    /// `min(max(0, x), 6)` (Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10").
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// Whether there are none.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// What follows each batch norm of a network that is built by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// [`Bounds::RELU`].
    #[default]
    Relu,
    /// [`Bounds::RELU6`].
    Relu6,
}

impl Activation {
    /// Its bounds.
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::Relu => Bounds::RELU,
            Self::Relu6 => Bounds::RELU6,
        }
    }
}
