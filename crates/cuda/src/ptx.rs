//! The compiled kernels, as `cargo xtask build-kernels` writes them.

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        /// The PTX of a module; none of this name.
        pub(super) fn module_source(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../../../kernels/ptx/", $name, ".ptx"))),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
}

modules! {
    "across",
    "batch_norm",
    "batch_norm.bf16",
    "coefficients",
    "cross_entropy",
    "depthwise",
    "depthwise.bf16",
    "layout",
    "layout.bf16",
    "masks",
    "partial_sums",
    "patches",
    "patches.bf16",
    "pattern",
    "pool",
    "pool.bf16",
    "select",
    "sgd",
    "sparse_pointwise",
    "sparse_pointwise.bf16",
    "stem",
    "stem.bf16",
    "sum",
    "sum.bf16",
    "window_pool",
    "window_pool.bf16",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compiled_file_is_a_module() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels/ptx");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".ptx").to_owned())
            .collect();
        names.sort();
        assert_eq!(names, NAMES);
    }
}
