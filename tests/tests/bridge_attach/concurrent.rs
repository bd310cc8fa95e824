//! Many at once.

use plumb_tests::{at_once, json};

use super::{host, layer3, plugin};

#[test]
fn sixty_four_at_once_share_one_bridge_and_all_work() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "isDefaultGateway": true }));
    let containers: Vec<_> = (0..64)
        .map(|number| {
            let name = format!("n{number}");
            let last = number + 2;
            ipam.gives(
                &name,
                json!({ "ips": [{ "address": format!("10.1.0.{last}/24") }, { "address": format!("fd01::{last:x}/64") }] }),
            );
            host.container(&name)
        })
        .collect();
    let plugin = plugin(&host);
    at_once(64, |number| {
        plugin.add(&containers[number], &conf).succeeds()
    });
    let ports = host.sh("bridge -j link | grep -o forwarding | wc -l");
    assert_eq!(ports.trim(), "64");
    for container in containers.iter().step_by(9) {
        assert!(container.ping("10.1.0.1") && container.ping("fd01::1"));
    }
    assert_eq!(
        host.addrs("br0")
            .iter()
            .filter(|address| address.ends_with(".1/24"))
            .count(),
        1
    );
    at_once(64, |number| {
        plugin.del(&containers[number], &conf).succeeds()
    });
    assert_eq!(host.links().len(), 2, "lo and the bridge");
}

#[test]
fn attachments_that_come_and_go_survive_a_bridge_that_comes_and_goes() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "removeEmptyBridge": true }));
    let containers: Vec<_> = (1..5).map(|n| host.container(&format!("c{n}"))).collect();
    let plugin = plugin(&host);
    at_once(4, |number| {
        for _ in 0..12 {
            let container = &containers[number];
            let result = plugin.add(container, &conf).succeeds();
            assert!(container.ping("10.1.0.1"), "{result}");
            plugin
                .clone()
                .previous(&result)
                .del(container, &conf)
                .succeeds();
        }
    });
    assert_eq!(host.links().len(), 1, "only lo");
}
