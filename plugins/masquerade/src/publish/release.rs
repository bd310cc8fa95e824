//! Taking ports back.

use std::collections::BTreeSet;
use std::time::Instant;

use cni_common::error::{Error, Step};
use cni_common::ident::NetworkName;
use cni_common::netlink;
use cni_common::nft::{Batch, Element, Nft, is_stale};
use cni_common::owner::Tag;

use super::{CHAIN, MAPS, PAUSE, Published, TICKS, keys_of, localhost, stale};
use crate::apply::ATTEMPTS;
use crate::release::Going;
use crate::rules::table;

/// What taking ports back came to.
#[derive(Debug, Default)]
pub struct Unpublished {
    /// Something was deleted, which the kernel has yet to free.
    pub deleted: bool,
    /// The interfaces to which the host's 127.0.0.0/8 was closed.
    closed: BTreeSet<String>,
}

impl Unpublished {
    /// To be called when the attachments' rules are gone.
    pub fn settle(&self, nft: &mut Nft) -> Result<(), Error> {
        localhost::reopen(nft, &self.closed)
    }
}

/// An element that is to go.
pub(super) struct Leaving {
    pub(super) map: &'static str,
    pub(super) element: Element,
}

/// Finds what is to go: by the keys that it probably has if that is all of it, else by listing the maps.
pub(super) fn find(
    nft: &mut Nft,
    network: &NetworkName,
    going: &Going<'_>,
    probably: &[Published],
) -> Result<Vec<Leaving>, netlink::Error> {
    let table = table();
    let goes = |element: &Element| !element.leaving && includes(going, network, element);
    let mut found = Vec::new();
    for published in probably {
        let map = published.map();
        let element = nft.element(&table, map, published.key.clone())?;
        found.extend(element.filter(goes).map(|element| Leaving { map, element }));
    }
    if !probably.is_empty() && found.len() == probably.len() {
        return Ok(found);
    }
    found.clear();
    for (family, by, map) in MAPS {
        let all = nft.elements(&table, map, keys_of(family, by))?.into_iter();
        found.extend(all.filter(goes).map(|element| Leaving { map, element }));
    }
    Ok(found)
}

/// Whether an element goes; the maps are all networks'.
fn includes(going: &Going<'_>, network: &NetworkName, element: &Element) -> bool {
    let tag = element.comment.as_deref().and_then(Tag::parse);
    going.includes(element) && tag.is_some_and(|tag| tag.is_of(network))
}

/// Takes published ports of a network back, which are probably these, and forgets the connections that they led to the
/// container. What is not there is no error.
///
/// # Errors
/// What the kernel refused; code 11 when other transactions were always faster.
pub fn release(
    nft: &mut Nft,
    network: &NetworkName,
    going: &Going<'_>,
    probably: &[Published],
) -> Result<Unpublished, Error> {
    let table = table();
    let chain = nft.chain(&table, CHAIN).step(|| "read the firewall")?;
    if chain.is_none() {
        return Ok(Unpublished::default());
    }
    let mut unpublished = Unpublished {
        deleted: false,
        closed: localhost::close(nft, going)?,
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let leaving = find(nft, network, going, probably).step(|| "read the firewall")?;
        if leaving.is_empty() {
            return Ok(unpublished);
        }
        let mut batch = Batch::only_after(generation);
        for Leaving { map, element } in &leaving {
            match &element.data {
                Some(data) => batch.expire_mapping(&table, map, &element.key, data),
                None => batch.delete_element(&table, map, element.key.clone()),
            }
        }
        match nft.commit(batch) {
            Ok(()) => {
                unpublished.deleted = see_off(nft, &leaving).step(|| "unpublish ports")?;
                stale::forget_ours(leaving.iter().map(|leaving| &leaving.element));
                return Ok(unpublished);
            }
            Err(error) if is_stale(&error) || error.is_absent() => last = Some(error),
            Err(error) => return Err(error).step(|| "unpublish ports"),
        }
    }
    last.map_or(Ok(unpublished), Err).step(|| "unpublish ports")
}

/// Waits until the elements are gone: a connection that still found one would be tracked with it. Kernels before 6.12 let
/// none expire: those are deleted. Whether some were.
fn see_off(nft: &mut Nft, leaving: &[Leaving]) -> Result<bool, netlink::Error> {
    let begun = Instant::now();
    let mut batch = Batch::new();
    for Leaving { map, element } in leaving {
        while let Some(found) = nft.element(&table(), map, element.key.clone())? {
            if found.comment != element.comment {
                break;
            }
            if !found.leaving || begun.elapsed() > TICKS {
                batch.delete_element(&table(), map, element.key.clone());
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    let deletes = !batch.is_empty();
    match nft.commit(batch) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(deletes),
    }
}
