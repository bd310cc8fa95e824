//! What plugin and daemon say to each other: one JSON document a line, each with the version of its form.

pub(crate) mod command;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::config::Valid;
use cni_common::error::Error;
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, ObjectWriter, Problems};
use cni_common::owner::Owner;

use crate::dual::Require;
use crate::lease::Terms;
use crate::lease6::Granted6;
use crate::record::{self, Settings, VERSION, read_owner};
use crate::record6::Settings6;

/// The longest line: a GC with ten thousand valid attachments has about as much.
pub(crate) const LONGEST: usize = 1 << 20;

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Leases for an attachment.
    Add(Box<Add>),
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

/// What an ADD asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Add {
    pub(crate) owner: Owner,
    pub(crate) netns: String,
    /// What is wanted of IPv4, and of IPv6.
    pub(crate) settings: Option<Settings>,
    pub(crate) ipv6: Option<Settings6>,
    pub(crate) require: Require,
    /// How long a family that is not required is waited for.
    pub(crate) grace_secs: u32,
    /// How long all is waited for.
    pub(crate) timeout_secs: u32,
    /// An IPv4 address that it has by other means.
    pub(crate) inform: Option<Cidr>,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// What an attachment has.
    Lease(Box<Held>),
    /// Attachments, as people see them.
    List(Vec<Json>),
    /// Text.
    Text(String),
    /// It cannot be.
    Failed { code: u32, message: String },
}

/// What an attachment has of each family, and the state it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) ipv4: Option<(Terms, String)>,
    pub(crate) ipv6: Option<(Granted6, String)>,
}

impl Request {
    /// What is asked for, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
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
            Self::Add(add) => Some(&add.netns),
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
            Self::Add(add) => begin(&add.owner)
                .with("netns", add.netns.as_str())
                .with("timeoutSecs", add.timeout_secs)
                .with("graceSecs", add.grace_secs)
                .with("require", add.require.as_str())
                .with_some("inform", add.inform.map(|cidr| cidr.to_string()))
                .with_some("settings", add.settings.as_ref().map(Settings::to_json))
                .with_some("ipv6", add.ipv6.as_ref().map(Settings6::to_json)),
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
            "add" => Some(Self::Add(Box::new(Add::read(object)?))),
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
            Self::Lease(held) => {
                let ipv4 = held
                    .ipv4
                    .as_ref()
                    .map(|(terms, state)| terms.to_json().with("state", state.as_str()));
                let ipv6 = held
                    .ipv6
                    .as_ref()
                    .map(|(granted, state)| granted.to_json().with("state", state.as_str()));
                begin
                    .with("held", Json::Bool(true))
                    .with_some("ipv4", ipv4)
                    .with_some("ipv6", ipv6)
            }
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
        if object.flag("held") {
            let held = Held::read(&object).map(Box::new);
            return held.map(Self::Lease).ok_or_else(strange);
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

impl Add {
    fn read(object: &Object<'_>) -> Option<Self> {
        let settings = match object.object("settings") {
            Some(settings) => Some(Settings::read(&settings)?),
            None => None,
        };
        let ipv6 = match object.object("ipv6") {
            Some(settings) => Some(Settings6::read(&settings)?),
            None => None,
        };
        let require = match object.text("require") {
            Some(text) => Require::parse(text)?,
            None => Require::All,
        };
        Some(Self {
            owner: read_owner(object)?,
            netns: object.text("netns")?.to_owned(),
            settings,
            ipv6,
            require,
            grace_secs: object.unsigned("graceSecs", 600).unwrap_or(0),
            timeout_secs: object.unsigned("timeoutSecs", 600)?,
            inform: object.parse("inform"),
        })
    }
}

impl Held {
    fn read(object: &Object<'_>) -> Option<Self> {
        let state = |of: &Object<'_>| of.text("state").unwrap_or_default().to_owned();
        let mut held = Self::default();
        if let Some(ipv4) = object.object("ipv4") {
            held.ipv4 = Some((Terms::read(&ipv4)?, state(&ipv4)));
        }
        if let Some(ipv6) = object.object("ipv6") {
            held.ipv6 = Some((Granted6::read(&ipv6)?, state(&ipv6)));
        }
        Some(held)
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
