//! Exchange of rows and columns.

use rayon::prelude::*;
use sparse_vectors::vector::Stored;

/// Rows and columns of the tile that is read and written together.
const TILE: usize = 16;

/// `out[c, r] = x[r, c]`: turns images `[N, C·H·W]` into channel-major activations `[C·H·W, N]`, and back.
pub fn transpose<E: Stored>(x: &[E::Real], out: &mut [E], columns: usize) {
    let rows = x.len() / columns;
    out.par_chunks_mut(TILE * rows).enumerate().for_each(|(tile, out)| {
        let first = tile * TILE;
        for start in (0..rows).step_by(TILE) {
            for (c, out) in out.chunks_exact_mut(rows).enumerate() {
                for r in start..(start + TILE).min(rows) {
                    out[r] = E::store(x[r * columns + first + c]);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_changes_place() {
        let x: Vec<f32> = (0..37 * 21).map(|i| i as f32).collect();
        let mut out = vec![0.0; x.len()];
        super::transpose(&x, &mut out, 21);
        assert!((0..37).all(|r| (0..21).all(|c| out[c * 37 + r] == x[r * 21 + c])));
    }
}
