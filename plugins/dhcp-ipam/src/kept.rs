//! What is kept on disk, of either family.

use cni_common::error::Error;
use cni_common::json::{Json, ObjectWriter};
use cni_common::owner::Owner;

use crate::record::Standing;
use crate::time::Time;

/// A lease with all that goes with it, which has a file of its own.
pub(crate) trait Kept: Sized {
    /// What its files' names end with, after a hash.
    const SUFFIX: &str;

    fn owner(&self) -> &Owner;
    fn standing(&self) -> Standing;
    /// The same, being given back.
    fn released(&self) -> Self;
    fn to_json(&self) -> ObjectWriter;
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_json(json: &Json) -> Result<Self, Error>;
    /// Puts the lease's beginning into the times of this boot, with `wall` seconds since 1970 now.
    fn settle(&mut self, boot: &str, now: Time, wall: u64);
}
