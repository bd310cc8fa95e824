//! Many at once, beside somebody else who works on the ruleset, and a GC.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plumb_tests::{Container, Host, Value, at_once, conf, json};

const CROWD: usize = 64;

/// What bridge-attach and masquerade are given for container `number`.
fn confs(number: usize, keys: &Value) -> [Value; 2] {
    let (v4, v6) = (number + 2, number + 2);
    let mut bridge = conf(
        "bridge-attach",
        json!({
            "bridge": "br0",
            "isDefaultGateway": true,
            "ipForward": false,
            "ipam": {
                "type": "static-ipam",
                "addresses": [
                    { "address": format!("10.1.0.{v4}/24"), "gateway": "10.1.0.1" },
                    { "address": format!("fd01::{v6:x}/64"), "gateway": "fd01::1" },
                ],
            },
        }),
    );
    bridge
        .as_object_mut()
        .unwrap()
        .extend(keys.as_object().unwrap().clone());
    [
        bridge,
        conf(
            "masquerade",
            json!({ "restoreSysctls": true, "forward": "stateful" }),
        ),
    ]
}

struct Crowd<'a> {
    host: &'a Host,
    containers: Vec<Container>,
}

impl Crowd<'_> {
    #[track_caller]
    fn add(&self, number: usize) -> Value {
        let [bridge, masquerade] = confs(number, &json!({}));
        let container = &self.containers[number];
        let result = self
            .host
            .plugin("bridge-attach")
            .add(container, bridge)
            .succeeds();
        let masquerade = self
            .host
            .plugin("masquerade")
            .previous(&result)
            .add(container, masquerade);
        masquerade.succeeds()
    }

    #[track_caller]
    fn del(&self, number: usize, keys: &Value) {
        let [bridge, masquerade] = confs(number, keys);
        let container = &self.containers[number];
        self.host
            .plugin("masquerade")
            .del(container, masquerade)
            .succeeds();
        self.host
            .plugin("bridge-attach")
            .del(container, bridge)
            .succeeds();
    }

    #[track_caller]
    fn check(&self, number: usize, result: &Value) {
        let [bridge, masquerade] = confs(number, &json!({}));
        for (name, conf) in [("bridge-attach", bridge), ("masquerade", masquerade)] {
            let plugin = self.host.plugin(name).previous(result);
            plugin.check(&self.containers[number], conf).succeeds();
        }
    }

    /// GC of both plugins with these containers alive.
    #[track_caller]
    fn collect(&self, alive: impl Iterator<Item = usize>) {
        let attachment = |number: usize| json!({ "containerID": self.containers[number].id(), "ifname": "eth0" });
        let valid: Value = alive.map(attachment).collect();
        for (name, mut conf) in ["bridge-attach", "masquerade"]
            .into_iter()
            .zip(confs(0, &json!({})))
        {
            conf["cni.dev/valid-attachments"] = valid.clone();
            self.host.plugin(name).gc(conf).succeeds();
        }
    }
}

/// Somebody else's tables: they come, change and go.
#[track_caller]
fn use_nft(host: &Host, round: usize) {
    host.sh(&format!(
        "nft add table ip other{round}
         nft add chain ip other{round} c '{{ type filter hook forward priority 5; }}'
         nft add rule ip other{round} c ip saddr 192.0.2.{} counter accept
         [ {round} -lt 3 ] || nft delete table ip other{}",
        round % 250,
        round.saturating_sub(3),
    ));
}

#[test]
fn sixty_four_come_and_go_at_once_on_a_bridge_that_nobody_made() {
    let host = Host::new();
    let before = host.state();
    let containers = (0..CROWD)
        .map(|number| host.container(&format!("c{number}")))
        .collect();
    let crowd = Crowd {
        host: &host,
        containers,
    };
    let busy = AtomicUsize::new(CROWD);
    let rounds = AtomicUsize::new(0);
    let macs = at_once(CROWD + 3, |number| match number {
        // Every third one changes its mind, and every sixth of all once more.
        0..CROWD => {
            let _turn = Turn(&busy);
            let mut result = Some(crowd.add(number));
            if number % 3 == 0 {
                crowd.del(number, &json!({}));
                result = (number % 6 == 0).then(|| crowd.add(number));
            }
            Seen::End((number, result))
        }
        64 => {
            while busy.load(Ordering::Relaxed) > 0 {
                use_nft(&host, rounds.fetch_add(1, Ordering::Relaxed));
            }
            Seen::Nothing
        }
        65 => {
            while busy.load(Ordering::Relaxed) > 0 {
                crowd.collect(0..CROWD);
            }
            Seen::Nothing
        }
        _ => {
            let mut macs = BTreeSet::new();
            while busy.load(Ordering::Relaxed) > 0 {
                macs.extend(mac(&host));
                std::thread::sleep(Duration::from_millis(1));
            }
            macs.extend(mac(&host));
            Seen::Macs(macs)
        }
    });
    let mut attached = Vec::new();
    for seen in macs {
        match seen {
            Seen::Nothing | Seen::End((_, None)) => {}
            Seen::End((number, Some(result))) => attached.push((number, result)),
            Seen::Macs(macs) => assert_eq!(macs.len(), 1, "{macs:?}"),
        }
    }
    let rounds = rounds.into_inner();
    assert!(rounds > 0);

    assert_eq!(attached.len(), CROWD - 11);
    let ports = host.sh("bridge -j link | grep -o forwarding | wc -l");
    assert_eq!(ports.trim(), attached.len().to_string());
    for (number, result) in &attached {
        crowd.check(*number, result);
    }
    for (number, _) in attached.iter().step_by(7) {
        let container = &crowd.containers[*number];
        assert!(
            container.reaches("10.1.0.1") && container.reaches("fd01::1"),
            "c{number}"
        );
    }
    let listed = host.ruleset();
    assert!(
        listed.contains(&format!("table ip other{} ", rounds - 1)),
        "somebody else's table"
    );

    // A GC takes half of them, in the middle of the DELs.
    let tidy = json!({ "removeEmptyBridge": true });
    at_once(CROWD + 1, |number| match number {
        0..CROWD => crowd.del(number, &tidy),
        _ => crowd.collect(CROWD / 2..CROWD),
    });
    host.sh("nft list tables | sed -n 's/^table ip \\(other.*\\)/\\1/p' | while read t; do nft delete table ip $t; done");
    host.assert_unchanged_since(&before);
    for container in &crowd.containers {
        assert!(container.link("eth0").is_none());
    }
}

/// The turn of one of the crowd. It ends also when it fails, else the others would wait for ever.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one of the crowd saw.
enum Seen {
    Nothing,
    /// The end of container N's turn, and its result if it is attached.
    End((usize, Option<Value>)),
    Macs(BTreeSet<String>),
}

fn mac(host: &Host) -> Option<String> {
    Some(host.link("br0")?["address"].as_str()?.to_owned())
}
