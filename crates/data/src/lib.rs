//! Image datasets, sampling, augmentation and the prefetching loader.
