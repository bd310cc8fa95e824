//! Servers that are silent, change their mind, or give away what others have.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use plumb_tests::{json, skip, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, World, address, alone, bridged, leases, v4};
use crate::world6::addresses;

#[test]
fn without_a_server_add_fails_in_time_and_leaves_nothing() {
    let world = World::new();
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let before = c1.state();
    let outcome = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridged(json!({ "timeoutSecs": 2 })));
    assert!(
        outcome.elapsed < Duration::from_secs(20),
        "{:?}",
        outcome.elapsed
    );
    outcome.fails_with(103, "no DHCP server answered on eth0 within 2 s");
    c1.assert_unchanged_since(&before);
    assert!(world.listed("testnet/c1/eth0").is_null());
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let files = files.filter(|file| file.file_name() != "lock").count();
    assert_eq!(files, 0);
}

#[test]
fn an_add_whose_runtime_gave_up_leaves_no_client_behind() {
    let world = World::new();
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let request = json!({
        "version": 1, "do": "add", "network": "testnet", "container": "c1", "ifname": "eth0",
        "netns": c1.netns().to_str(), "timeoutSecs": 600,
        "settings": { "clientId": "0001", "request": "01", "arpProbeMs": 0 },
    });
    {
        let socket = "/run/cni/dhcp.sock";
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        writeln!(stream, "{request}").unwrap();
        let asks = || world.listed("testnet/c1/eth0")["state"] == "SELECTING";
        assert!(until(SOON, asks));
    }
    assert!(until(SOON, || world.listed("testnet/c1/eth0").is_null()));
}

#[test]
fn a_refused_renewal_gives_the_interface_another_address() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 110);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let result = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridged(json!({})))
        .succeeds();
    let old = address(&result);
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    fs::remove_file("/run/dnsmasq.leases").unwrap();
    let _dnsmasq = world.dnsmasq(200, 210);
    world.command(&["renew", "testnet/c1/eth0"]);
    let moved = || matches!(&v4(&c1)[..], [new] if new.starts_with("10.240.0.2") && *new != old);
    assert!(
        until(SOON, moved),
        "{old}: {:?} {}",
        v4(&c1),
        world.listed("testnet/c1/eth0")
    );
    let routed = || {
        c1.routes()
            .iter()
            .any(|route| route.starts_with("default via 10.240.0.1"))
    };
    assert!(until(SOON, routed), "{:?}", c1.routes());
    assert!(c1.reaches("10.240.0.1"));
    // What the runtime recorded is not so any more.
    let check = world.host.plugin("bridge-attach").previous(&result);
    check
        .check(&c1, bridged(json!({})))
        .fails_with(102, "10.240.0.2");
}

#[test]
fn an_address_is_taken_away_when_its_lease_ends_and_comes_back_with_the_server() {
    let world = World::new();
    if !world.host.sh("busybox --list || true").contains("udhcpd") {
        return skip("needs busybox with udhcpd (Debian's busybox-static)");
    }
    let options = "start 10.240.0.60\nend 10.240.0.70\ninterface eth0\nmax_leases 10\nmin_lease 1\n\
        lease_file /run/udhcpd.leases\npidfile /run/udhcpd.pid\n\
        opt subnet 255.255.255.0\nopt router 10.240.0.1\nopt lease 6\n";
    fs::write("/run/udhcpd.conf", options).unwrap();
    fs::write("/run/udhcpd.leases", "").unwrap();
    let udhcpd = || {
        world
            .server
            .spawn(["busybox", "udhcpd", "-f", "/run/udhcpd.conf"])
    };
    let server = udhcpd();
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let result = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridged(json!({})))
        .succeeds();
    // It is renewed on time: after twice its length it is still there.
    let capture = world.server.capture("eth0", "udp port 67");
    let renewals = || {
        let ours = |line: &&String| line.contains(".68 > 10.240.0.1.67");
        capture.packets().iter().filter(ours).count() >= 3
    };
    assert!(until(SOON, renewals), "{:?}", capture.packets());
    assert_eq!(v4(&c1), [address(&result)]);

    server.signal(Signal::SIGKILL);
    drop(server);
    assert!(until(SOON, || v4(&c1).is_empty()), "{:?}", v4(&c1));
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    assert_eq!(
        world.listed("testnet/c1/eth0")["lastError"],
        "nobody renewed it"
    );
    let _server = udhcpd();
    assert!(
        until(SOON * 2, || !v4(&c1).is_empty()),
        "{}",
        world.listed("testnet/c1/eth0")
    );
    assert!(c1.reaches("10.240.0.1"));
}

#[test]
fn an_address_that_another_host_has_is_declined() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 101);
    let _daemon = world.daemon();
    // One of the two addresses is taken by somebody who did not ask; which is dnsmasq's to choose first.
    let squatter = world.plugged("squatter");
    squatter.sh("ip link set eth0 up && ip addr add 10.240.0.100/24 dev eth0");
    let conf = alone(json!({ "arpProbeMs": 500, "timeoutSecs": 60 }));
    let (c1, c2) = (world.plugged("c1"), world.plugged("c2"));
    let first = world.plugin().add(&c1, &conf).succeeds();
    assert_eq!(address(&first), "10.240.0.101/24");
    // There is no second one.
    let conf = alone(json!({ "arpProbeMs": 500, "timeoutSecs": 8 }));
    world
        .plugin()
        .add(&c2, &conf)
        .fails_with_words("within 8 s");
    dnsmasq.until_output_has("DHCPDECLINE", SOON);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let world = World::new();
    let c1 = world.host.container("c1");
    world
        .plugin()
        .add(&c1, alone(json!({})))
        .fails_with(4, "the container has no interface eth0");
    assert!(
        !fs::exists("/run/cni/dhcp.sock").unwrap(),
        "no daemon was started"
    );
}

#[test]
fn check_finds_an_address_that_is_gone_and_changes_nothing() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 110);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    let result = world.plugin().add(&c1, &conf).succeeds();
    let check = || world.plugin().previous(&result).check(&c1, &conf);
    check().fails_with(102, "address on eth0: expected 10.240.0.");
    c1.sh(&format!("ip addr add {} dev eth0", address(&result)));
    check().succeeds();
    let nobody = world.plugged("c2");
    let before = leases();
    let call = world.plugin().previous(&result).check(&nobody, &conf);
    call.fails_with(102, "there is no lease for testnet/c2/eth0");
    assert_eq!(leases(), before);
}

/// A daemon that is held up while it asks for an address, and finds more to do than it takes in at once when it goes on.
#[track_caller]
fn held_up(family: &Family) {
    const PROBE: Duration = Duration::from_secs(4);
    let world = (family.world)();
    let _server = (family.serve_two)(&world);
    let daemon = world.daemon();
    let squatter = world.plugged("squatter");
    squatter.sh("ip link set eth0 up");
    let mut watchers: Vec<_> = (0..100)
        .map(|_| UnixStream::connect("/run/cni/dhcp.sock").unwrap())
        .collect();
    for watcher in &mut watchers {
        watcher
            .write_all(b"{\"version\":1,\"do\":\"watch\"}\n")
            .unwrap();
    }
    let all = || world.metrics().contains("do=\"watch\"} 100");
    assert!(until(SOON, all), "{}", world.metrics());
    let mut keys = (family.keys)();
    keys["timeoutSecs"] = json!(60);
    (family.patience)(&mut keys, 4000);
    let (conf, plugin, c1) = (alone(keys), world.plugin(), world.plugged("c1"));
    let asked = world.server.capture("eth0", "arp or icmp6");
    let mac = squatter.link("eth0").unwrap()["address"].clone();
    let (taken, result) = std::thread::scope(|scope| {
        let add = scope.spawn(|| plugin.add(&c1, &conf));
        let asks = |address: &str| {
            let words = format!(" {}", address.split('/').next().unwrap());
            let is_it = |line: &String| line.contains("who") && line.contains(&words);
            asked.packets().iter().any(is_it)
        };
        let taken = || family.two.into_iter().find(|address| asks(address));
        assert!(until(SOON, || taken().is_some()), "{:?}", asked.packets());
        let (taken, began) = (taken().unwrap(), Instant::now());
        daemon.signal(Signal::SIGSTOP);
        for watcher in &mut watchers {
            watcher.write_all(b"x").unwrap();
        }
        // What others ask each other comes before it: more than is read at a time, and less than the socket holds.
        squatter.set_sysctl("net/ipv4/neigh/eth0/mcast_solicit", "1");
        squatter.sh("ip addr add 10.240.0.90/24 dev eth0; \
             for n in $(seq 120 199); do ping -c 1 -w 1 10.240.0.$n > /dev/null & done; wait; \
             ip addr del 10.240.0.90/24 dev eth0");
        squatter.sh(&format!("ip addr add {taken} dev eth0"));
        // Whoever asks for somebody else says what he has; of IPv6 the kernel asks for the address itself.
        squatter.ping("10.240.0.77");
        let bare = taken.split('/').next().unwrap();
        let says = |line: &String| line.contains(mac.as_str().unwrap()) && line.contains(bare);
        let spoken = || asked.packets().iter().any(says);
        assert!(until(SOON, spoken), "{:?}", asked.packets());
        std::thread::sleep((PROBE + Duration::from_secs(1)).saturating_sub(began.elapsed()));
        daemon.signal(Signal::SIGCONT);
        (taken, add.join().unwrap().succeeds())
    });
    let others = family.two.into_iter().filter(|each| *each != taken);
    assert_eq!(addresses(&result), others.collect::<Vec<_>>());
}

#[test]
fn a_neighbour_who_answered_in_time_is_heard_by_a_daemon_that_is_late() {
    held_up(&V4);
}

#[test]
fn an_ipv6_neighbour_who_answered_in_time_is_heard_by_a_daemon_that_is_late() {
    held_up(&V6);
}
