//! Small changes to a ruleset that others change as well.

use super::{Batch, Nft, is_stale};
use crate::error::{Error, Step};
use crate::netlink;

/// How often a change is tried that another transaction was faster than.
const ATTEMPTS: usize = 100;

/// Looks and changes what is to be changed, in one transaction, and again where another one came in between.
///
/// # Errors
/// What the kernel refused; code 11 when other transactions were always faster.
pub fn amend(
    fill: impl Fn(&mut Nft, &mut Batch) -> Result<(), netlink::Error>,
) -> Result<(), Error> {
    let mut nft = Nft::open().step(|| "open nftables")?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let mut batch = Batch::only_after(generation);
        fill(&mut nft, &mut batch).step(|| "read the firewall")?;
        if batch.is_empty() {
            return Ok(());
        }
        match nft.commit(batch) {
            Ok(()) => {
                nft.close_after_deletion();
                return Ok(());
            }
            Err(error) if is_stale(&error) => last = Some(error),
            Err(error) => return Err(error).step(|| "change the firewall"),
        }
    }
    last.map_or(Ok(()), Err).step(|| "change the firewall")
}
