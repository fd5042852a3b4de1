//! The best weights at given places.

use crate::error::{Error, Result};
use crate::problem::Problem;
use faer::linalg::solvers::Solve;
use faer::{MatMut, MatRef, Side};
use rayon::prelude::*;
use sparse_sparsity::Mask;

/// Row by row: `w_S = H_SS⁻¹ g_S` on the kept places S, zero elsewhere; `g: [outputs, inputs]`.
pub(crate) fn solve(problem: &Problem, g: &[f64], mask: &Mask) -> Result<Vec<f64>> {
    let inputs = problem.inputs;
    let mut solved = vec![0.0; mask.len()];
    solved.par_chunks_mut(inputs).enumerate().try_for_each(|(row, to)| {
        let kept: Vec<usize> = (0..inputs).filter(|&at| mask.get(row * inputs + at)).collect();
        let size = kept.len();
        if size == 0 {
            return Ok(());
        }
        let range = row * inputs..(row + 1) * inputs;
        if size == inputs && g[range.clone()] == problem.g[range.clone()] {
            to.copy_from_slice(&problem.best[range]);
            return Ok(());
        }
        let mut part = Vec::with_capacity(size * size);
        for &i in &kept {
            part.extend(kept.iter().map(|&j| problem.h[i * inputs + j]));
        }
        let mut right: Vec<f64> = kept.iter().map(|&at| g[row * inputs + at]).collect();
        let part = MatRef::from_column_major_slice(&part, size, size);
        let decomposed = part.llt(Side::Lower).map_err(|_| Error::Singular)?;
        decomposed.solve_in_place(MatMut::from_column_major_slice_mut(&mut right, size, 1));
        kept.iter().zip(right).for_each(|(&at, value)| to[at] = value);
        Ok(())
    })?;
    Ok(solved)
}
