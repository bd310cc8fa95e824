//! SCTP, of which kernels made for one purpose know nothing but how to track it.

use std::time::Duration;

use plumb_tests::{Node, json, until};

use super::world::{INTERNET, UPLINK, World};

/// An emulated machine takes its time to start a program, and to load the protocol.
const LONG: Duration = Duration::from_mins(2);

/// Rust's library has no sockets of this kind.
const COMMON: &str = r#"
use Socket qw(:all);
my ($ip, $port, $patience) = @ARGV;
my $family = $ip =~ /:/ ? AF_INET6 : AF_INET;
my $address = inet_pton($family, $ip);
my $at = $family == AF_INET ? pack_sockaddr_in($port, $address) : pack_sockaddr_in6($port, $address);
socket(my $socket, $family, SOCK_STREAM, 132) or die "socket: $!";
"#;
const SERVER: &str = r#"
bind($socket, $at) or die "bind: $!";
listen($socket, 1) or die "listen: $!";
$| = 1;
print "listens\n";
my $peer = accept(my $client, $socket) or die "accept: $!";
my @peer = $family == AF_INET ? unpack_sockaddr_in($peer) : unpack_sockaddr_in6($peer);
syswrite($client, inet_ntop($family, $peer[1]));
sysread($client, my $end, 1);
"#;
const CLIENT: &str = r#"
alarm($patience);
connect($socket, $at) or die "connect: $!";
sysread($socket, my $seen, 100);
print $seen;
"#;

fn script(end: &str) -> String {
    format!("{COMMON}{end}")
}

fn called(client: &Node, address: &str, port: &str, patience: &str) -> Option<String> {
    let script = script(CLIENT);
    let ran = client.try_exec(["perl", "-e", &script, address, port, patience]);
    ran.status.success().then_some(ran.stdout)
}

#[test]
fn a_published_port_is_reached_by_sctp_and_the_container_is_not() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "publish": ["9009:9/sctp"], "forward": "stateful" });
    world.add(&c1, &result, keys).succeeds();
    let script = script(SERVER);
    for (family, own) in ["10.77.0.2", "fd77::2"].into_iter().enumerate() {
        let server = c1.spawn(["perl", "-e", &script, own, "9"]);
        let listens = || server.output().contains("listens");
        assert!(until(LONG, listens), "{}", server.output());
        assert_eq!(called(&world.internet, own, "9", "2"), None);
        let seen = called(&world.internet, UPLINK[family], "9009", "60");
        assert_eq!(seen.as_deref(), Some(INTERNET[family]));
    }
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), "");
}
