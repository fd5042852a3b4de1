//! Pure maths of sparsity on slices: masks, exact thresholds, schedules, reports.
