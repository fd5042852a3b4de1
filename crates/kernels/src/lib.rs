//! Every numeric operation on raw slices, on the host with SIMD and rayon.
