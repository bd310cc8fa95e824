//! Attachments with the files that `masquerade reload` puts them back from.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::path::Path;

use cni_common::error::{Error, Step};
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::nft::Element;
use cni_common::owner::Owner;

use crate::apply::Before;
use crate::backend::{attach, detach};
use crate::config::Config;
use crate::is_stale;
use crate::release::Going;
use crate::restore::restore_others;
use crate::rules::Plan;
use crate::state::{DIRECTORY, Maker, Store};

/// Who makes attachments, and where their files are.
#[derive(Clone, Copy, Debug)]
pub struct Keeper<'a> {
    /// Which plugin it is.
    pub maker: Maker,
    /// The directory; `None` keeps nothing.
    pub directory: Option<&'a Path>,
}

const HINT: &str =
    "\"masquerade reload\" needs the file; dataDir names another directory, or \"\" for none";

impl Keeper<'_> {
    /// `ipMasq` of `bridge-attach`.
    pub fn of_bridge_attach() -> Self {
        Self {
            maker: Maker::BridgeAttach,
            directory: Some(Path::new(DIRECTORY)),
        }
    }

    fn store(&self) -> Result<Option<Store>, Error> {
        self.directory.map(Store::open).transpose()
    }

    /// Whether the configuration of an attachment is kept.
    pub fn keeps(&self, owner: &Owner) -> bool {
        let store = self.store().ok().flatten();
        store.is_some_and(|store| store.has(owner, self.maker))
    }

    /// Attaches, and keeps the configuration that a reload does it again by. Where the rules of the network have gone, the
    /// other attachments get theirs back as well. On failure nothing stays.
    pub fn attach(
        &self,
        owner: &Owner,
        config: &Config,
        plan: &Plan,
        configuration: &[u8],
    ) -> Result<(), Error> {
        let store = self.store()?;
        let attached = attach(owner, config, plan);
        let Some(store) = store else {
            return attached.map(|_| ());
        };
        let kept = attached.and_then(|before| {
            let kept = store.keep(owner, self.maker, configuration);
            if kept.is_err()
                && let Err(error) = detach(config, &owner.network, &Going::Of(&owner.tag(), &[]))
            {
                log::error(format_args!("undo: {error}"));
            }
            kept.map_err(|error| error.with_details(HINT))?;
            self.repair(&store, owner, before);
            Ok(())
        });
        if kept.is_err()
            && let Err(error) = store.forget(owner, self.maker)
        {
            log::error(format_args!("undo: {error}"));
        }
        kept
    }

    /// Where rules had gone, the attachments that had them get them back.
    fn repair(&self, store: &Store, owner: &Owner, before: Before) {
        let others = match before {
            Before::Group => return,
            Before::Others => store.others_of_network(owner, self.maker),
            Before::Nothing => store.others(owner, self.maker),
        };
        match others {
            Ok(others) => restore_others(&others),
            Err(error) => log::warning(format_args!("restore: {error}")),
        }
    }

    /// Takes an attachment away, which probably has these addresses.
    pub fn detach(
        &self,
        config: &Config,
        owner: &Owner,
        addresses: &[IpAddr],
    ) -> Result<(), Error> {
        let forgotten = self
            .store()
            .and_then(|store| store.map_or(Ok(()), |store| store.forget(owner, self.maker)));
        detach(config, &owner.network, &Going::Of(&owner.tag(), addresses)).and(forgotten)
    }

    /// Takes those attachments of a network away whose owners are not valid.
    pub fn collect(
        &self,
        config: &Config,
        network: &NetworkName,
        valid: &BTreeSet<u64>,
    ) -> Result<(), Error> {
        let forgotten = self
            .store()
            .and_then(|store| store.map_or(Ok(()), |store| store.forget_stale(network, valid)));
        let stale = |element: &Element| is_stale(element, valid);
        detach(config, network, &Going::Where(&stale)).and(forgotten)
    }

    /// Files of a network, so many at most.
    pub(crate) fn some_of_network(
        &self,
        network: &NetworkName,
        most: usize,
    ) -> Result<Vec<crate::state::Entry>, Error> {
        let store = self.store()?;
        store
            .map_or(Ok(Vec::new()), |store| store.some_of_network(network, most))
            .step(|| "look for attachments")
    }
}
