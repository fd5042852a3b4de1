//! Golden, parity and end-to-end tests of the workspace.
