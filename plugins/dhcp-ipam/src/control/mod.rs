//! What plugin and daemon say to each other: one JSON document a line, each with the version of its form.

pub(crate) mod command;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::config::Valid;
use cni_common::error::Error;
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, ObjectWriter, Problems};
use cni_common::owner::Owner;

use crate::lease::Terms;
use crate::record::{self, Settings, VERSION, read_owner};

/// The longest line: a GC with ten thousand valid attachments has about as much.
pub(crate) const LONGEST: usize = 1 << 20;

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A lease for an attachment, within so many seconds.
    Add {
        owner: Owner,
        netns: String,
        settings: Settings,
        timeout_secs: u32,
        /// An address that it has by other means.
        inform: Option<Cidr>,
    },
    /// The end of an attachment.
    Del(Owner),
    /// What is known of an attachment.
    Show(Owner),
    /// The end of all attachments of a network but these.
    Gc { network: NetworkName, valid: Valid },
    /// What is known of all attachments.
    List,
    /// Ask the server for more time at once.
    Renew(Owner),
    /// All that is known of an attachment, for people.
    Describe(Owner),
    /// The counters.
    Metrics,
    /// Events, from now on: the answer is a line for each.
    Watch,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// A lease, and the state it is in.
    Lease { terms: Terms, state: String },
    /// Attachments, as people see them.
    List(Vec<Json>),
    /// Text.
    Text(String),
    /// It cannot be.
    Failed { code: u32, message: String },
}

impl Request {
    /// What is asked for, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Del(_) => "del",
            Self::Show(_) => "show",
            Self::Gc { .. } => "gc",
            Self::List => "list",
            Self::Renew(_) => "renew",
            Self::Describe(_) => "describe",
            Self::Metrics => "metrics",
            Self::Watch => "watch",
        }
    }

    /// The namespace that it is about.
    pub(crate) fn netns(&self) -> Option<&str> {
        match self {
            Self::Add { netns, .. } => Some(netns),
            Self::Del(_)
            | Self::Show(_)
            | Self::Gc { .. }
            | Self::List
            | Self::Renew(_)
            | Self::Describe(_)
            | Self::Metrics
            | Self::Watch => None,
        }
    }

    pub(crate) fn to_line(&self) -> String {
        let begin = |owner: &Owner| record::about(owner).with("do", self.word());
        let alone = || {
            ObjectWriter::default()
                .with("version", VERSION)
                .with("do", self.word())
        };
        let json = match self {
            Self::Add {
                owner,
                netns,
                settings,
                timeout_secs,
                inform,
            } => begin(owner)
                .with("netns", netns.as_str())
                .with("timeoutSecs", *timeout_secs)
                .with_some("inform", inform.map(|cidr| cidr.to_string()))
                .with("settings", settings.to_json()),
            Self::Del(owner) | Self::Show(owner) | Self::Renew(owner) | Self::Describe(owner) => {
                begin(owner)
            }
            Self::Gc { network, valid } => {
                let attachment = |(container, ifname): &(ContainerId, IfName)| {
                    ObjectWriter::default()
                        .with("container", container.as_str())
                        .with("ifname", ifname.as_str())
                        .into()
                };
                alone()
                    .with("network", network.as_str())
                    .with_list("valid", valid.iter().map(attachment).collect())
            }
            Self::List | Self::Metrics | Self::Watch => alone(),
        };
        Json::from(json).to_line() + "\n"
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Code 6 or 7: what is wrong with it.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Error> {
        let json = Json::parse(line)?;
        let problems = Problems::default();
        let object = Object::root(&json, &problems)?;
        check_version(&object)?;
        let request = Self::read(&object);
        problems.finish()?;
        request.ok_or_else(|| Error::new(Code::InvalidConfig, "the request is not complete"))
    }

    fn read(object: &Object<'_>) -> Option<Self> {
        match object.text("do")? {
            "add" => Some(Self::Add {
                owner: read_owner(object)?,
                netns: object.text("netns")?.to_owned(),
                settings: Settings::read(&object.object("settings")?)?,
                timeout_secs: object.unsigned("timeoutSecs", 600)?,
                inform: object.parse("inform"),
            }),
            "del" => Some(Self::Del(read_owner(object)?)),
            "show" => Some(Self::Show(read_owner(object)?)),
            "renew" => Some(Self::Renew(read_owner(object)?)),
            "describe" => Some(Self::Describe(read_owner(object)?)),
            "list" => Some(Self::List),
            "metrics" => Some(Self::Metrics),
            "watch" => Some(Self::Watch),
            "gc" => {
                let valid = object.items("valid").into_iter().map(|item| {
                    let item = item.object()?;
                    Some((
                        item.parse_with("container", ContainerId::parse)?,
                        item.parse_with("ifname", IfName::parse)?,
                    ))
                });
                Some(Self::Gc {
                    network: object.parse_with("network", NetworkName::parse)?,
                    valid: valid.collect::<Option<_>>()?,
                })
            }
            _ => None,
        }
    }
}

impl Answer {
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed {
            code: error.code().number(),
            message: error.to_string(),
        }
    }

    pub(crate) fn to_line(&self) -> String {
        let begin = ObjectWriter::default().with("version", VERSION);
        let json = match self {
            Self::Done => begin.with("done", Json::Bool(true)),
            Self::Lease { terms, state } => begin
                .with("lease", terms.to_json())
                .with("state", state.as_str()),
            Self::List(list) => begin.with("leases", Json::Array(list.clone())),
            Self::Text(text) => begin.with("text", text.as_str()),
            Self::Failed { code, message } => {
                begin.with("code", *code).with("message", message.as_str())
            }
        };
        Json::from(json).to_line() + "\n"
    }

    /// Reads a line; a failure is an error with the daemon's code.
    ///
    /// # Errors
    /// The daemon's, or code 5 when it is no answer of ours.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Error> {
        let strange = || {
            let text = String::from_utf8_lossy(line);
            Error::new(
                Code::Io,
                format!(
                    "what listens there is not the daemon of dhcp-ipam: it says {:?}",
                    text.chars().take(80).collect::<String>()
                ),
            )
        };
        let json = Json::parse(line).map_err(|_| strange())?;
        let problems = Problems::default();
        let object = Object::root(&json, &problems).map_err(|_| strange())?;
        check_version(&object)?;
        if let Some(code) = object.unsigned("code", u32::MAX) {
            let message = object.text("message").unwrap_or_default();
            return Err(Error::new(known(code), message));
        }
        if let Some(lease) = object.object("lease") {
            return Ok(Self::Lease {
                terms: Terms::read(&lease).ok_or_else(strange)?,
                state: object.text("state").unwrap_or_default().to_owned(),
            });
        }
        if let Some(list) = object.get("leases") {
            let items = list.items();
            return Ok(Self::List(
                items.iter().map(|item| item.json().clone()).collect(),
            ));
        }
        if let Some(text) = object.string("text") {
            return Ok(Self::Text(text.to_owned()));
        }
        if object.flag("done") {
            return Ok(Self::Done);
        }
        Err(strange())
    }
}

/// The codes that the daemon uses.
fn known(number: u32) -> Code {
    let codes = [
        Code::UnknownContainer,
        Code::Environment,
        Code::Io,
        Code::Decode,
        Code::InvalidConfig,
        Code::TryAgain,
        Code::Kernel,
        Code::Drift,
        Code::NoDhcp,
        Code::DhcpRefused,
    ];
    codes
        .into_iter()
        .find(|code| code.number() == number)
        .unwrap_or(Code::Delegate(number))
}

fn check_version(object: &Object<'_>) -> Result<(), Error> {
    match object.unsigned("version", u32::MAX) {
        Some(VERSION) => Ok(()),
        _ => Err(Error::new(
            Code::Decode,
            format!("plugin and daemon are of different releases: version {VERSION} is wanted"),
        )),
    }
}

#[cfg(test)]
mod tests;
