//! Candle operations, forward and backward, over the kernels.
