//! A delegated prefix that ends before the address it came with.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use plumb_tests::{Container, Process, Value, json, until};

use crate::asked::overheard;
use crate::events::{program, told, until_told};
use crate::family::V6;
use crate::servers6::kea6;
use crate::world::{SOON, World, bridged};
use crate::world6::{addresses, v6};

/// Renew (RFC 8415, 7.3).
const RENEW: u8 = 5;

/// A container with an address and a prefix of one server, of which another one prolonged the address alone.
struct Halved {
    c1: Container,
    conf: Value,
    result: Value,
    prefix: String,
    _server: Process,
}

/// What is on disk of the one lease that there is.
fn on_disk() -> Value {
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let mut paths = files.map(|file| file.path());
    let path = paths.find(|path| path.to_string_lossy().ends_with(".v6.json"));
    serde_json::from_str(&fs::read_to_string(path.unwrap()).unwrap()).unwrap()
}

impl Halved {
    fn new(world: &World) -> Self {
        let terms = json!({
            "pd-pools": [{ "prefix": "fd00:dd::", "prefix-len": 48, "delegated-len": 60 }],
            "preferred-lifetime": 12, "valid-lifetime": 20, "renew-timer": 3, "rebind-timer": 7,
            // What the other server says as well.
            "option-data": [{ "name": "domain-search", "data": "lab.example" }],
        });
        let kea = kea6(world, "kea", "01", &terms);
        program("/run/hook", "");
        let c1 = world.host.container("c1");
        let mut keys = (V6.keys)();
        keys["ipv6"]["prefixDelegation"] = json!(60);
        keys["onChange"] = json!("/run/hook");
        let conf = bridged(keys);
        let result = world.host.plugin("bridge-attach").add(&c1, &conf);
        let result = result.succeeds();
        let listed = || world.listed6("testnet/c1/eth0");
        let first = listed();
        kea.signal(Signal::SIGKILL);
        drop(kea);
        let dnsmasq = world.dnsmasq6_range("100", "1ff");
        let taken_over = || listed()["server"] != first["server"];
        assert!(until(SOON, taken_over), "{}", listed());
        Self {
            c1,
            conf,
            result,
            prefix: first["delegated"].as_str().unwrap().to_owned(),
            _server: dnsmasq,
        }
    }

    /// The program was told of the end, and the address is as it was.
    #[track_caller]
    fn until_the_prefix_ended(&self, world: &World) {
        until_told(&["bound", "changed"]);
        let all = told();
        assert_eq!(all[0]["lease"]["delegated"]["prefix"], self.prefix.as_str());
        assert_eq!(
            all[1]["previous"]["delegated"]["prefix"],
            self.prefix.as_str()
        );
        assert!(all[1]["lease"]["delegated"].is_null(), "{}", all[1]);
        let given = addresses(&self.result);
        let bare = given[0].split('/').next().unwrap();
        let goes_on = all[1]["lease"]["address"]["prefix"].as_str().unwrap();
        assert_eq!(goes_on.split('/').next(), Some(bare));
        assert_eq!(v6(&self.c1), given);
        assert!(on_disk()["lease"]["delegated"].is_null(), "{}", on_disk());
        let listed = world.listed6("testnet/c1/eth0");
        assert_eq!(listed["address"], given[0].as_str(), "{listed}");
        assert!(listed["delegated"].is_null(), "{listed}");
        let shown = world.said(&["show", "testnet/c1/eth0"]);
        assert!(!shown.contains("lease.delegated"), "{shown}");
        let bridge = world.host.plugin("bridge-attach").previous(&self.result);
        bridge.check(&self.c1, &self.conf).succeeds();
    }
}

#[test]
fn a_program_is_told_when_a_delegated_prefix_ends_and_the_address_goes_on() {
    let world = World::with_ipv6();
    let daemon = world.daemon();
    let halved = Halved::new(&world);
    let heard = overheard(&world);
    world.deaf_to(Some(RENEW));
    halved.until_the_prefix_ended(&world);
    let listed = world.listed6("testnet/c1/eth0");
    let words = format!("nobody renewed {}", halved.prefix);
    assert_eq!(listed["lastError"], words.as_str(), "{listed}");
    // The server is asked for another one.
    let asks = || {
        let said = heard.output();
        let mut renewals = said.lines().filter(|line| line.contains("dhcp6 renew"));
        renewals.any(|line| line.contains("(IA_PD-prefix ::/60 "))
    };
    assert!(until(SOON, asks), "{}", heard.output());

    // It ended once, whoever starts again.
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    world.deaf_to(None);
    let _daemon = world.daemon();
    let bound = || world.listed6("testnet/c1/eth0")["state"] == "BOUND";
    assert!(until(SOON, bound), "{}", world.listed6("testnet/c1/eth0"));
    let bridge = world.host.plugin("bridge-attach").previous(&halved.result);
    bridge.del(&halved.c1, &halved.conf).succeeds();
    until_told(&["bound", "changed", "released"]);
    assert!(told()[2]["previous"]["delegated"].is_null());
    (V6.until_leases)(0);
}

#[test]
fn a_program_is_told_of_a_prefix_that_ended_while_there_was_no_daemon() {
    let world = World::with_ipv6();
    let daemon = world.daemon();
    let halved = Halved::new(&world);
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let kept = on_disk();
    let seconds = |value: &Value| value.as_u64().unwrap();
    let valid = seconds(&kept["lease"]["delegated"]["validSeconds"]);
    let end = seconds(&kept["since"]) + valid;
    let wall = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap().as_secs()
    };
    assert!(until(SOON, || wall() > end), "{kept}");
    let _daemon = world.daemon();
    halved.until_the_prefix_ended(&world);
}
