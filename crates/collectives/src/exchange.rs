//! The one thing that ranks do: every rank gives every other some bytes.

use crate::Result;

/// A way from each rank to each other.
pub trait Exchange {
    /// Which this one is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Sends `send[r]` to rank r and fills `receive[r]` with what r sends here, for all r but this one. Where nothing is to be
    /// sent, the slice is empty on both sides.
    ///
    /// # Errors
    /// [`crate::Error::Lost`] if a rank does not answer, [`crate::Error::Disagree`] if one sends another count.
    fn exchange(&mut self, send: &[&[u8]], receive: &mut [&mut [u8]]) -> Result<()>;

    /// Shows the others that this rank lives.
    ///
    /// # Errors
    /// [`crate::Error::Lost`] if another does not.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }
}
