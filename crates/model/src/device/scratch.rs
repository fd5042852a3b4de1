//! Memory whose contents matter within one step of a plan.

use super::room::Room;

/// What steps need beside values and gradients; it grows to what the largest asks for.
pub(super) struct Scratch<M> {
    /// Input of a product, normalised.
    pub(super) normalised: Room<M>,
    /// Gradient to the output of a product.
    pub(super) dy: Room<M>,
    /// Patches of a convolution.
    pub(super) patches: Room<M>,
    /// A part of a gradient that is to be added to others.
    pub(super) part: Room<M>,
    /// Partial sums.
    pub(super) partial: Room<M>,
    /// What batch norm shares with other ranks.
    pub(super) shared: Room<M>,
    /// Results that nobody reads.
    pub(super) unread: Room<M>,
}

impl<M> Default for Scratch<M> {
    fn default() -> Self {
        Self {
            normalised: Room::default(),
            dy: Room::default(),
            patches: Room::default(),
            part: Room::default(),
            partial: Room::default(),
            shared: Room::default(),
            unread: Room::default(),
        }
    }
}
