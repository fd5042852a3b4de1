//! The pruner over named candle variables: select, threshold, mask, enforce.
