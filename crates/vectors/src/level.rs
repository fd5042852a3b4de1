//! Narrower instruction sets than this processor's, for tests (feature `levels`): each thread has one.

thread_local! {
    static LEVEL: std::cell::Cell<Level> = const { std::cell::Cell::new(Level::Widest) };
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The widest that this processor has.
    Widest,
    /// AVX-512 without the dot product of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with the dot product of bytes.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX2 and multiply-adds alone.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// One number at a time.
    Scalar,
}

impl Level {
    /// Those that differ for integers.
    pub const INTEGERS: &[Self] = &[
        Self::Widest,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Scalar,
    ];

    /// Those that differ for floating-point numbers.
    pub const ALL: &[Self] = &[
        Self::Widest,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        Self::Scalar,
    ];

    /// What this thread uses.
    pub fn here() -> Self {
        LEVEL.get()
    }

    /// Uses this instruction set on this thread.
    pub fn adopt(self) {
        LEVEL.set(self);
    }

    /// Runs `body` on a pool of `threads` threads that use this instruction set.
    ///
    /// # Panics
    /// If the system gives no threads.
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub fn run<R: Send>(self, threads: usize, body: impl FnOnce() -> R + Send) -> R {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(move |_| LEVEL.set(self));
        pool.build().unwrap().install(body)
    }
}
