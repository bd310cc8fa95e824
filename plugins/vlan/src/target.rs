//! What is tagged, where, and under which name: decided from the configuration and the previous result.

use cni_common::attach::master::Master;
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::ident::IfName;
use cni_common::result::{Attachment, Interface};

use crate::config::Config;
use crate::names::stacked_name;

/// In which namespace the master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The plugin's own.
    Host,
    /// The container's.
    Container,
}

/// What is tagged, where, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) master: Master,
    pub(crate) place: Place,
    /// The name of the interface in the container.
    pub(crate) ifname: IfName,
    /// Whether the result of the plugins before this one goes on.
    pub(crate) chained: bool,
}

impl Target {
    /// Decides for an ADD. Without `master`, what the plugin before made is taken: the container's interface, or what
    /// it made on the host where `linkInContainer` is `false` or the container has none.
    ///
    /// # Errors
    /// Code 7 when the previous result has no fitting link, or the name is too long.
    pub(crate) fn for_add(
        config: &Config,
        ifname: &IfName,
        previous: Option<&Attachment>,
    ) -> Result<Self, Error> {
        let (master, place) = match (&config.master, previous) {
            (Some(master), _) => (master.clone(), place(config)),
            (None, None) => (Master::DefaultRoute, place(config)),
            (None, Some(previous)) => from_result(config, ifname, previous)?,
        };
        // The name that the call is for belongs to the plugin before, where it made one.
        let is_there = previous.is_some_and(|previous| {
            previous
                .interfaces
                .iter()
                .any(|each| each.sandbox.is_some() && each.name == ifname.as_str())
        });
        Ok(Self {
            master,
            place,
            ifname: if is_there {
                stacked_name(ifname, config.id)?
            } else {
                ifname.clone()
            },
            chained: previous.is_some(),
        })
    }
}

/// Where a master that the configuration names is.
pub(crate) fn place(config: &Config) -> Place {
    if config.in_container == Some(true) {
        Place::Container
    } else {
        Place::Host
    }
}

fn from_result(
    config: &Config,
    ifname: &IfName,
    previous: &Attachment,
) -> Result<(Master, Place), Error> {
    let inside = |each: &&Interface| each.sandbox.is_some();
    let in_container = || {
        let all = previous.interfaces.iter().filter(inside);
        let mut called_for = all.clone().filter(|each| each.name == ifname.as_str());
        called_for.next().or_else(|| all.clone().next())
    };
    let on_host = || {
        previous
            .interfaces
            .iter()
            .find(|each| each.sandbox.is_none())
    };
    let found = match config.in_container {
        Some(true) => in_container(),
        Some(false) => on_host(),
        None => in_container().or_else(on_host),
    };
    let Some(found) = found else {
        return Err(Error::new(
            Code::InvalidConfig,
            "master: is empty, and prevResult has no interface to take for it",
        ));
    };
    let name = IfName::parse(&found.name)
        .map_err(|invalid| Error::new(Code::InvalidConfig, format!("prevResult: {invalid}")))?;
    let place = if found.sandbox.is_some() {
        Place::Container
    } else {
        Place::Host
    };
    Ok((Master::Name(name), place))
}

#[cfg(test)]
mod tests {
    use cni_common::args::CniArgs;
    use cni_common::config;
    use cni_common::env::Command;
    use cni_common::json::Json;
    use cni_common::version::SpecVersion;

    use super::*;

    fn config(keys: &str) -> Config {
        let text = format!(r#"{{"name":"net","vlanId":5{keys}}}"#);
        let json = Json::parse(text.as_bytes()).unwrap();
        let args = CniArgs::default();
        config::read::<Config>(&json, SpecVersion::V1_1_0, Command::Add, &args, None)
            .unwrap()
            .own
    }

    fn result(links: &[(&str, bool)]) -> Attachment {
        let interface = |(name, inside): &(&str, bool)| Interface {
            name: (*name).to_owned(),
            sandbox: inside.then(|| String::from("/run/netns/c1")),
            ..Interface::default()
        };
        Attachment {
            interfaces: links.iter().map(interface).collect(),
            ..Attachment::default()
        }
    }

    fn target(keys: &str, previous: Option<&[(&str, bool)]>) -> (String, Place, String) {
        let ifname = IfName::parse("eth0").unwrap();
        let previous = previous.map(result);
        let target = Target::for_add(&config(keys), &ifname, previous.as_ref()).unwrap();
        (
            target.master.to_string(),
            target.place,
            target.ifname.to_string(),
        )
    }

    fn is(master: &str, place: Place, ifname: &str) -> (String, Place, String) {
        (master.to_owned(), place, ifname.to_owned())
    }

    const BRIDGED: &[(&str, bool)] = &[("br0", false), ("veth0", false), ("eth0", true)];

    #[test]
    fn a_master_that_is_named_is_taken() {
        let named = r#","master":"nic""#;
        assert_eq!(target(named, None), is("nic", Place::Host, "eth0"));
        let inside = r#","master":"nic","linkInContainer":true"#;
        assert_eq!(target(inside, None), is("nic", Place::Container, "eth0"));
        let chained = target(named, Some(BRIDGED));
        assert_eq!(chained, is("nic", Place::Host, "eth0.5"));
    }

    #[test]
    fn without_one_the_default_route_or_the_plugin_before_decides() {
        let (master, place, _) = target("", None);
        assert!(master.contains("default route"), "{master}");
        assert_eq!(place, Place::Host);
        let chained = target("", Some(BRIDGED));
        assert_eq!(chained, is("eth0", Place::Container, "eth0.5"));
        let on_host = target(r#","linkInContainer":false"#, Some(BRIDGED));
        assert_eq!(on_host, is("br0", Place::Host, "eth0.5"));
        let tap = target("", Some(&[("tap0", false)]));
        assert_eq!(tap, is("tap0", Place::Host, "eth0"));
        let other = target("", Some(&[("net1", true)]));
        assert_eq!(other, is("net1", Place::Container, "eth0"));
    }

    #[test]
    fn a_result_without_a_link_and_a_name_that_grows_too_long_are_refused() {
        let ifname = IfName::parse("eth0").unwrap();
        let nothing = Target::for_add(&config(""), &ifname, Some(&result(&[]))).unwrap_err();
        assert!(nothing.to_string().contains("prevResult"), "{nothing}");
        let long = IfName::parse("interface-1234").unwrap();
        let previous = result(&[("interface-1234", true)]);
        let error = Target::for_add(&config(""), &long, Some(&previous)).unwrap_err();
        assert!(error.to_string().contains("CNI_IFNAME"), "{error}");
    }
}
