//! Nothing: what is checked are the dependencies.
