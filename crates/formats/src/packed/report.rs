//! How small a packed file is, and what rounding did to it.

/// Sizes of a packed file, in bytes, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Tensors.
    pub tensors: usize,
    /// Tensors that are packed; the others are as they were.
    pub packed_tensors: usize,
    /// Weights of the packed tensors.
    pub weights: usize,
    /// Weights of the packed tensors that are stored, as they are not zero.
    pub values: usize,
    /// What the packed tensors would take as they were, without the header of the file.
    pub packed_dense_bytes: u64,
    /// What their values, bits and shapes take, without the header of the file.
    pub packed_bytes: u64,
    /// The file as it would be without packing.
    pub dense_file_bytes: u64,
    /// The file.
    pub file_bytes: u64,
    /// The greatest |stored - w| / |w| over the stored weights; 0 for f32.
    pub rounding_error: f64,
    /// Weights that rounding made zero; they are stored.
    pub rounded_to_zero: usize,
}

impl Report {
    /// Zeros of the packed tensors over their weights; 0 if nothing is packed.
    pub fn sparsity(&self) -> f64 {
        if self.weights == 0 { 0.0 } else { 1.0 - self.values as f64 / self.weights as f64 }
    }

    /// Packed over dense bytes of the packed tensors; 1 if nothing is packed.
    pub fn ratio(&self) -> f64 {
        if self.packed_dense_bytes == 0 {
            1.0
        } else {
            self.packed_bytes as f64 / self.packed_dense_bytes as f64
        }
    }

    /// Bytes of the file over those that it would have without packing.
    pub fn file_ratio(&self) -> f64 {
        self.file_bytes as f64 / self.dense_file_bytes.max(1) as f64
    }
}
