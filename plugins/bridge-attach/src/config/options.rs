//! Keys about the bridge itself: `stp`, `forwardDelay`, `ageingTime`, `multicastSnooping`, `vlanFiltering`,
//! `vlanProtocol`, `manageBridge`.

use std::time::Duration;

use cni_common::json::Object;
use cni_common::netlink::bridge::Options as KernelOptions;
use cni_common::netlink::vlan::Protocol;

use super::Config;

/// What is chosen about the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// What a bridge that is made gets, and one that is there must have.
    chosen: KernelOptions,
    /// `manageBridge`: whether the bridge may be made and changed.
    pub(crate) manage: bool,
}

/// Bounds of the kernel's for a bridge with spanning tree (IEEE 802.1D, table 8-3), in seconds.
const DELAY: core::ops::RangeInclusive<u64> = 2..=30;

impl Options {
    pub(super) fn read(object: &Object<'_>) -> Self {
        let flag = |key| object.get(key).and_then(|value| value.bool());
        let seconds = |key, most| {
            let seconds = object.unsigned(key, most)?;
            Some(Duration::from_secs(u64::from(seconds)))
        };
        let chosen = KernelOptions {
            stp: flag("stp"),
            forward_delay: seconds("forwardDelay", 30),
            ageing_time: seconds("ageingTime", 1_000_000),
            multicast_snooping: flag("multicastSnooping"),
            vlan_filtering: flag("vlanFiltering"),
            vlan_protocol: object.parse_with("vlanProtocol", Protocol::parse),
            ..KernelOptions::default()
        };
        Self {
            chosen,
            manage: flag("manageBridge").unwrap_or(true),
        }
    }

    pub(super) fn refuse_contradictions(&self, config: &Config, object: &Object<'_>) {
        let chosen = &self.chosen;
        if let (Some(true), Some(delay)) = (chosen.stp, chosen.forward_delay)
            && !DELAY.contains(&delay.as_secs())
        {
            let (least, most) = (DELAY.start(), DELAY.end());
            if let Some(value) = object.get("forwardDelay") {
                value.refuse(format_args!(
                    "must be between {least} and {most} seconds with stp"
                ));
            }
        }
        if chosen.vlan_filtering == Some(false) && config.vlans.filter {
            object.refuse("vlanFiltering", "cannot be false with vlan or vlanTrunk");
        }
        if self.manage {
            return;
        }
        if !config.uplinks.is_empty() {
            object.refuse("uplink", "cannot be given while manageBridge is false");
        }
        for (key, asks) in [
            ("promiscMode", config.promisc),
            ("forceAddress", config.force_address),
            ("removeEmptyBridge", config.remove_empty),
            ("moveAddresses", config.move_addresses),
        ] {
            if asks {
                object.refuse(key, "cannot be true while manageBridge is false");
            }
        }
    }

    /// What a bridge is to have.
    fn wanted(&self, config: &Config) -> KernelOptions {
        let filtering = self.chosen.vlan_filtering;
        KernelOptions {
            vlan_filtering: filtering.or(config.vlans.filter.then_some(true)),
            ..self.chosen
        }
    }

    /// What a bridge that is made gets; not to filter VLANs is not said, as kernels that cannot refuse to be told.
    pub(crate) fn of_new(&self, config: &Config) -> KernelOptions {
        let wanted = self.wanted(config);
        KernelOptions {
            vlan_filtering: wanted.vlan_filtering.filter(|filtering| *filtering),
            ..wanted
        }
    }

    /// The key by which the bridge is to filter VLANs.
    pub(crate) fn filtering_key(&self, config: &Config) -> &'static str {
        if self.chosen.vlan_filtering.is_some() {
            "vlanFiltering"
        } else if config.vlans.vlan.is_some() {
            "vlan"
        } else {
            "vlanTrunk"
        }
    }

    /// Whether the filtering of a bridge that is there may be switched on.
    pub(crate) fn switches_filtering_on(&self) -> bool {
        self.manage && self.chosen.vlan_filtering == Some(true)
    }

    /// In what a bridge that is there is not as it is chosen: key, wanted, and found, which is nothing where this kernel's
    /// bridges do not have it. Times count only where the kernel tells what was chosen.
    pub(crate) fn differences(
        &self,
        config: &Config,
        found: &KernelOptions,
    ) -> Vec<(&'static str, String, Option<String>)> {
        let on = |flag: &Option<bool>| flag.map(|flag| flag.to_string());
        let seconds = |time: &Option<Duration>| {
            let time = time.as_ref()?;
            let fraction = time.subsec_millis();
            Some(if fraction == 0 {
                time.as_secs().to_string()
            } else {
                format!("{}.{fraction:03}", time.as_secs())
            })
        };
        let protocol = |protocol: &Option<Protocol>| protocol.map(|it| it.to_string());
        let wanted = self.wanted(config);
        let each = |options: &KernelOptions| {
            [
                on(&options.stp),
                seconds(&options.forward_delay),
                seconds(&options.ageing_time),
                on(&options.multicast_snooping),
                on(&options.vlan_filtering),
                protocol(&options.vlan_protocol),
            ]
        };
        let keys = [
            "stp",
            "forwardDelay",
            "ageingTime",
            "multicastSnooping",
            self.filtering_key(config),
            "vlanProtocol",
        ];
        let values = each(&wanted).into_iter().zip(each(found));
        let pairs = keys.into_iter().zip(values);
        pairs
            .filter_map(|(key, (wanted, found))| Some((key, wanted?, found)))
            .filter(|(_, wanted, found)| found.as_ref() != Some(wanted))
            .filter(|(key, ..)| match *key {
                "ageingTime" => !found.topology_change,
                "forwardDelay" => !found.follows_root,
                _ => true,
            })
            .collect()
    }
}
