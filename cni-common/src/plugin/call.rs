//! What a plugin is given for each command.

use crate::args::CniArgs;
use crate::code::Code;
use crate::config::{self, Valid};
use crate::delegate::Delegate;
use crate::error::Error;
use crate::ident::{ContainerId, IfName, NetworkName};
use crate::netns::Netns;
use crate::owner::Owner;
use crate::result::Attachment;
use crate::version::SpecVersion;

/// What executing another plugin for this call needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Delegation {
    pub(super) ipam: Option<String>,
    pub(super) path: Option<String>,
    pub(super) stdin: Vec<u8>,
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Delegation {
    pub(super) fn find(&self) -> Result<Option<Delegate>, Error> {
        let Some(name) = &self.ipam else {
            return Ok(None);
        };
        let variables = self.variables.clone();
        Delegate::find(name, self.path.as_deref(), &self.stdin, variables).map(Some)
    }
}

/// An ADD or a CHECK.
#[derive(Debug)]
pub struct Call<C> {
    /// The network's name.
    pub network: NetworkName,
    /// `CNI_CONTAINERID`.
    pub container: ContainerId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
    /// `CNI_NETNS` as given: what a result calls `sandbox`.
    pub netns_path: String,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// The version of the configuration, and so of the result.
    pub version: SpecVersion,
    /// The plugin's own keys.
    pub config: C,
    /// The result so far: of the previous plugin for ADD, of the whole ADD for CHECK.
    pub previous: Option<Attachment>,
    pub(super) netns: Option<Netns>,
    pub(super) delegation: Delegation,
}

impl<C> Call<C> {
    /// The attachment.
    pub fn owner(&self) -> Owner {
        owner(&self.network, &self.container, &self.ifname)
    }

    /// The configuration as it was given: JSON, and all that was read from it.
    pub fn configuration(&self) -> &[u8] {
        &self.delegation.stdin
    }

    /// The container's namespace: there, and not our own.
    ///
    /// # Errors
    /// Code 4 in a plugin that declared not to use it ([`super::NetnsUse::Ignored`]).
    pub fn netns(&self) -> Result<&Netns, Error> {
        self.netns
            .as_ref()
            .ok_or_else(|| Error::new(Code::Environment, "CNI_NETNS is not used by this plugin"))
    }

    /// The IPAM plugin, where one is configured. Ask before the first change: it may be missing.
    ///
    /// # Errors
    /// See [`Delegate::find`].
    pub fn ipam(&self) -> Result<Option<Delegate>, Error> {
        self.delegation.find()
    }

    /// The previous result, for a plugin that works on one.
    ///
    /// # Errors
    /// Code 7 when there is none.
    pub fn required_previous(&self) -> Result<&Attachment, Error> {
        self.previous.as_ref().ok_or_else(|| {
            Error::new(
                Code::InvalidConfig,
                "prevResult: is missing; this call needs the result of the plugins before it",
            )
        })
    }

    /// Refuses a result that the configuration's version cannot express. Ask before anything is changed.
    ///
    /// # Errors
    /// Code 7: two addresses of one family, or none, before 0.3.0.
    pub fn check_room(&self, attachment: &Attachment) -> Result<(), Error> {
        check_room(self.version, attachment)
    }
}

pub(super) fn check_room(version: SpecVersion, attachment: &Attachment) -> Result<(), Error> {
    let refused =
        |why| Error::quoted(Code::InvalidConfig, why).at(format!("cniVersion: {version}"));
    attachment.fits(version).map_err(refused)
}

/// A DEL: nothing but the names is certain.
#[derive(Debug)]
pub struct DelCall<C> {
    /// The network's name.
    pub network: NetworkName,
    /// `CNI_CONTAINERID`.
    pub container: ContainerId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
    /// The container's namespace; `None` when it was not given, is gone, or is our own (a recycled
    /// /proc/PID/ns/net).
    pub netns: Option<Netns>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// The version of the configuration.
    pub version: SpecVersion,
    /// The plugin's own keys; what was faulty in them is left out.
    pub config: C,
    /// The result of the ADD, where the runtime still has it.
    pub previous: Option<Attachment>,
    pub(super) delegation: Delegation,
}

impl<C> DelCall<C> {
    /// The attachment.
    pub fn owner(&self) -> Owner {
        owner(&self.network, &self.container, &self.ifname)
    }

    /// The IPAM plugin, where one is configured.
    ///
    /// # Errors
    /// See [`Delegate::find`]. Detach all the same, then report it.
    pub fn ipam(&self) -> Result<Option<Delegate>, Error> {
        self.delegation.find()
    }
}

/// A STATUS.
#[derive(Debug)]
pub struct StatusCall<C> {
    /// The network's name.
    pub network: NetworkName,
    /// The plugin's own keys.
    pub config: C,
    pub(super) delegation: Delegation,
}

impl<C> StatusCall<C> {
    /// The IPAM plugin, where one is configured.
    ///
    /// # Errors
    /// See [`Delegate::find`].
    pub fn ipam(&self) -> Result<Option<Delegate>, Error> {
        self.delegation.find()
    }
}

/// A GC that was given a list of valid attachments.
#[derive(Debug)]
pub struct GcCall<C> {
    /// The network's name.
    pub network: NetworkName,
    /// The attachments to keep; all others of the network are stale.
    pub valid: Valid,
    /// The plugin's own keys; what was faulty in them is left out.
    pub config: C,
    pub(super) delegation: Delegation,
}

impl<C> GcCall<C> {
    /// The owners to keep, by hash.
    pub fn valid_owners(&self) -> std::collections::BTreeSet<u64> {
        config::owner_hashes(&self.network, &self.valid)
    }

    /// The IPAM plugin, where one is configured.
    ///
    /// # Errors
    /// See [`Delegate::find`].
    pub fn ipam(&self) -> Result<Option<Delegate>, Error> {
        self.delegation.find()
    }
}

fn owner(network: &NetworkName, container: &ContainerId, ifname: &IfName) -> Owner {
    Owner {
        network: network.clone(),
        container: container.clone(),
        ifname: ifname.clone(),
    }
}
