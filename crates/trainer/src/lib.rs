//! The training driver: config, plan, loop, evaluation, checkpoints, outputs.
