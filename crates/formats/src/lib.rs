//! Tensors on disk: safetensors in and out, written atomically.
