//! The plugin's keys.

use cni_common::addr::Mac;
use cni_common::attach::master::Master;
use cni_common::attach::{keys, mac};
use cni_common::config::{Configuration, Input};
use cni_common::ident::Invalid;
use cni_common::json::Object;
use cni_common::netlink::addr::Detection;
use cni_common::netlink::vlan::{Options, Protocol, QosMap};
use cni_common::result::Dns;

/// The highest VLAN id; 4095 is reserved (IEEE 802.1Q, 9.6).
const MAX_ID: u32 = 4094;

/// The highest priority a tag has room for (three bits).
const MAX_PRIORITY: u32 = 7;

/// What the container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// The VLAN link itself: one container for each VLAN of the master.
    #[default]
    Direct,
    /// A macvlan link on the VLAN link, or on the master without `vlanId`.
    Shared,
}

/// The configuration; a key's own name stands where it differs from the field's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `master`; `None` when it is empty.
    pub(crate) master: Option<Master>,
    /// `linkInContainer`; `None` when it is absent.
    pub(crate) in_container: Option<bool>,
    pub(crate) mode: Mode,
    /// `vlanId`; `None` for untagged frames.
    pub(crate) id: Option<u16>,
    pub(crate) protocol: Protocol,
    /// `reorderHeader`, `gvrp`, `mvrp`, `looseBinding`, `ingressQos`, `egressQos`.
    pub(crate) options: Options,
    /// `mtu`; 0 is absent.
    pub(crate) mtu: Option<u32>,
    /// The interface's address: `CNI_ARGS` `MAC`, over it `args.cni.mac`, over it `runtimeConfig.mac`.
    pub(crate) mac: Option<Mac>,
    /// `enabledad`.
    pub(crate) detection: Detection,
    pub(crate) dns: Option<Dns>,
    /// `replaceDefaultRoute`.
    pub(crate) replace_default: bool,
    pub(crate) strict_del: bool,
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let mode = object.parse_with("mode", mode).unwrap_or_default();
        let id = object
            .get("vlanId")
            .and_then(|value| value.integer(0..=i64::from(MAX_ID)))
            .and_then(|id| u16::try_from(id).ok());
        let switch = |key: &str| object.get(key).and_then(|value| value.bool());
        let config = Self {
            master: object
                .text("master")
                .and_then(|_| object.parse_with("master", Master::parse)),
            in_container: switch("linkInContainer"),
            mode,
            // The reference plugin takes 0 for an absent id, and tags with it.
            id: id.or_else(|| (mode == Mode::Direct).then_some(0)),
            protocol: object
                .parse_with("protocol", Protocol::parse)
                .unwrap_or_default(),
            options: Options {
                reorder_header: switch("reorderHeader"),
                gvrp: switch("gvrp"),
                mvrp: switch("mvrp"),
                loose_binding: switch("looseBinding"),
                ingress: qos_map(object, "ingressQos", MAX_PRIORITY, u32::MAX),
                egress: qos_map(object, "egressQos", u32::MAX, MAX_PRIORITY),
            },
            mtu: keys::mtu(object),
            mac: mac::read(input),
            detection: if object.flag("enabledad") {
                Detection::Probe
            } else {
                Detection::Skip
            },
            dns: keys::dns(object),
            replace_default: object.flag("replaceDefaultRoute"),
            strict_del: object.flag("strictDel"),
        };
        if config.id.is_none() {
            refuse_meaningless(object);
        }
        config
    }
}

fn mode(text: &str) -> Result<Mode, Invalid> {
    match text {
        "direct" => Ok(Mode::Direct),
        "shared" => Ok(Mode::Shared),
        other => Err(Invalid {
            reason: format!("{other:?} must be \"direct\" or \"shared\""),
        }),
    }
}

/// Reads a map of priorities, `{"FROM": TO}`.
fn qos_map(object: &Object<'_>, key: &str, most_from: u32, most_to: u32) -> QosMap {
    let Some(map) = object.object(key) else {
        return QosMap::new();
    };
    let mut pairs = QosMap::new();
    for (name, value) in map.entries() {
        let Some(from) = name.parse().ok().filter(|from| *from <= most_from) else {
            let rule = format!("the key must be a number between 0 and {most_from}");
            map.refuse(name, rule);
            continue;
        };
        let Some(to) = value.unsigned(most_to) else {
            continue;
        };
        pairs.retain(|(other, _)| *other != from);
        pairs.push((from, to));
    }
    pairs
}

/// Refuses what says how frames are tagged, where they are not.
fn refuse_meaningless(object: &Object<'_>) {
    for key in [
        "protocol",
        "reorderHeader",
        "gvrp",
        "mvrp",
        "looseBinding",
        "ingressQos",
        "egressQos",
    ] {
        if object.get(key).is_some() {
            object.refuse(key, "needs vlanId: without it frames have no tag");
        }
    }
}

#[cfg(test)]
mod tests {
    use cni_common::args::CniArgs;
    use cni_common::code::Code;
    use cni_common::config;
    use cni_common::env::Command;
    use cni_common::error::Error;
    use cni_common::json::Json;
    use cni_common::version::SpecVersion;

    use super::*;

    fn try_read(keys: &str) -> Result<Config, Error> {
        let text = format!(r#"{{"name":"net","type":"vlan"{keys}}}"#);
        let json = Json::parse(text.as_bytes())?;
        let version = SpecVersion::V1_1_0;
        let args = CniArgs::default();
        config::read::<Config>(&json, version, Command::Add, &args, None).map(|conf| conf.own)
    }

    fn read(keys: &str) -> Config {
        try_read(keys).unwrap()
    }

    #[track_caller]
    fn refused(keys: &str, code: Code, words: &str) {
        let error = try_read(keys).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn the_reference_plugins_keys_are_understood() {
        let config = read(
            r#","master":"eth0","VLANID":33,"mtu":1400,"linkInContainer":true,"dns":{"domain":"a.b"}"#,
        );
        assert_eq!(config.master, Master::parse("eth0").ok());
        assert_eq!((config.id, config.mtu), (Some(33), Some(1400)));
        assert_eq!(
            (config.in_container, config.mode),
            (Some(true), Mode::Direct)
        );
        assert_eq!(config.protocol, Protocol::Dot1Q);
        assert_eq!(config.options, Options::default());
        assert!(config.dns.is_some());
    }

    #[test]
    fn an_absent_id_is_0_in_mode_direct_and_no_tag_in_mode_shared() {
        assert_eq!(read("").id, Some(0));
        assert_eq!(read(r#","mode":"shared""#).id, None);
        assert_eq!(read(r#","mode":"shared","vlanId":0"#).id, Some(0));
        assert_eq!(read(r#","master":"""#).master, None);
    }

    #[test]
    fn what_the_kernel_can_do_with_a_tag_can_be_said() {
        let config = read(
            r#","vlanId":4094,"protocol":"802.1AD","reorderHeader":false,"gvrp":true,"mvrp":true,
              "looseBinding":true,"ingressQos":{"0":3,"7":4294967295},"egressQos":{"9":1,"9":7}"#,
        );
        assert_eq!((config.id, config.protocol), (Some(4094), Protocol::Dot1Ad));
        let options = config.options;
        assert_eq!(options.reorder_header, Some(false));
        let others = [options.gvrp, options.mvrp, options.loose_binding];
        assert_eq!(others, [Some(true); 3]);
        assert_eq!(options.ingress, [(0, 3), (7, u32::MAX)]);
        assert_eq!(options.egress, [(9, 7)]);
    }

    #[test]
    fn impossible_values_are_refused_with_their_key() {
        let bad = Code::InvalidConfig;
        refused(r#","vlanId":4095"#, bad, "vlanId: 4095");
        refused(r#","vlanId":-1"#, bad, "vlanId: -1");
        refused(r#","vlanId":"5""#, Code::Decode, "vlanId");
        refused(r#","master":"a/b""#, bad, "master");
        refused(r#","master":"mac:zz""#, bad, "master");
        refused(r#","mode":"macvlan""#, bad, "\"shared\"");
        refused(r#","protocol":"qinq""#, bad, "\"802.1ad\"");
        refused(r#","mtu":67"#, bad, "mtu: 67");
        refused(r#","ingressQos":{"8":1}"#, bad, "ingressQos.8");
        refused(r#","egressQos":{"1":8}"#, bad, "egressQos.1: 8");
        refused(r#","egressQos":{"x":1}"#, bad, "egressQos.x");
        refused(r#","egressQos":["1:2"]"#, Code::Decode, "egressQos");
    }

    #[test]
    fn without_a_tag_nothing_can_be_said_about_it() {
        let shared = r#","mode":"shared""#;
        for key in [
            r#""gvrp":false"#,
            r#""protocol":"802.1ad""#,
            r#""egressQos":{"1":2}"#,
        ] {
            refused(&format!("{shared},{key}"), Code::InvalidConfig, "vlanId");
        }
    }
}
