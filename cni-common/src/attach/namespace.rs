//! Whether the container's namespace is still the one that the call began with.

use crate::code::Code;
use crate::error::Error;
use crate::netns::Netns;
use crate::plugin::Call;

/// Whether the container's namespace is still where the runtime said.
pub fn is_there<C>(call: &Call<C>) -> bool {
    let Ok(netns) = call.netns() else {
        return false;
    };
    Netns::open(&call.netns_path).is_ok_and(|now| now.is_same(netns).unwrap_or(true))
}

/// Requires that it is.
///
/// # Errors
/// Code 3.
pub fn require<C>(call: &Call<C>) -> Result<(), Error> {
    if is_there(call) {
        return Ok(());
    }
    Err(Error::new(
        Code::UnknownContainer,
        format!("the namespace {} vanished", call.netns_path),
    ))
}
