//! The socket at which the daemon is asked: whose it is, who may ask, and how many.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{Process, json};

use crate::world::{SOON, World, address, alone, until_leases, v4};

const SOCKET: &str = "/run/cni/dhcp.sock";

#[test]
fn the_socket_is_for_its_owner_and_a_stale_one_is_taken_over() {
    let world = World::new();
    fs::create_dir_all("/run/cni").unwrap();
    drop(UnixListener::bind("/run/cni/dhcp.sock").unwrap());
    let mut first = world.daemon();
    let mode = fs::metadata("/run/cni/dhcp.sock")
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let file = world.plugin().file().to_owned();
    let second = world.host.try_exec([file.as_os_str(), "daemon".as_ref()]);
    assert!(
        second
            .stderr
            .contains("another daemon listens at /run/cni/dhcp.sock"),
        "{second:?}"
    );
    let elsewhere = ["daemon", "--socketpath", "/run/other.sock"].map(std::ffi::OsStr::new);
    let third = world
        .host
        .try_exec([&[file.as_os_str()], &elsewhere[..]].concat());
    assert!(
        third
            .stderr
            .contains("another daemon keeps the leases in /var/lib/cni/dhcp-ipam"),
        "{third:?}"
    );
    assert!(!fs::exists("/run/other.sock").unwrap());
    first.signal(Signal::SIGTERM);
    assert!(first.wait(SOON).success());
    assert!(!fs::exists("/run/cni/dhcp.sock").unwrap());
}

#[test]
fn a_socket_of_another_program_is_left_alone() {
    let world = World::new();
    fs::create_dir_all("/run/cni").unwrap();
    let listener = UnixListener::bind("/run/cni/dhcp.sock").unwrap();
    let file = world.plugin().file().to_owned();
    let daemon = world.host.try_exec([file.as_os_str(), "daemon".as_ref()]);
    assert!(
        daemon.stderr.contains("is in use by another program"),
        "{daemon:?}"
    );
    // The Go plugin's daemon speaks HTTP.
    let serve = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let conf = alone(json!({}));
    world
        .plugin()
        .status(&conf)
        .fails_with(50, "is not the daemon of dhcp-ipam");
    serve.join().unwrap();
}

#[test]
fn status_says_whether_an_add_could_be_served() {
    let world = World::new();
    let never = alone(json!({ "startDaemon": false }));
    world.plugin().status(alone(json!({}))).succeeds();
    world
        .plugin()
        .status(&never)
        .fails_with(50, "no daemon listens");
    assert!(
        !fs::exists("/run/cni/dhcp.sock").unwrap(),
        "STATUS starts nothing"
    );
    let _daemon = world.daemon();
    world.plugin().status(&never).succeeds();
}

#[test]
fn a_socket_that_systemd_passed_is_used_and_left_behind() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::os::fd::AsRawFd;
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    fs::create_dir_all("/run/cni").unwrap();
    let listener = UnixListener::bind("/run/cni/dhcp.sock").unwrap();
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let passed = listener.as_raw_fd();
    let file = world.plugin().file().display().to_string();
    // Of the shells, bash knows descriptors of more than one digit.
    let line = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {file} daemon 3<&{passed}");
    let mut daemon = world.host.spawn(["bash", "-c", &line]);
    daemon.until_output_has("listens at", SOON);
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(SOON).success());
    // The next connection makes systemd start it again.
    assert!(fs::exists("/run/cni/dhcp.sock").unwrap());
    let none = world.host.try_exec([
        "bash",
        "-c",
        &format!("LISTEN_PID=$$ LISTEN_FDS=1 exec {file} daemon 3<&-"),
    ]);
    assert!(none.stderr.contains("descriptor 3 is not open"), "{none:?}");
}

#[test]
fn a_bad_client_harms_nobody() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let mut daemon = world.daemon();
    let c1 = world.plugged("c1");
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect("/run/cni/dhcp.sock").unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let mut silent = UnixStream::connect("/run/cni/dhcp.sock").unwrap();
    assert!(ask(b"\xff\xfe\n").contains("not JSON"));
    assert!(ask(b"{\"version\":1}\n").contains("not complete"));
    assert_eq!(ask(&vec![b'['; 2 << 20]), "");
    let deep = [vec![b'['; 100_000], b"\n".to_vec()].concat();
    assert!(ask(&deep).contains("recursion limit"), "{}", ask(&deep));
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    assert_eq!(
        v4(&c1),
        Vec::<String>::new(),
        "the address is for the caller to give"
    );
    // Whoever has nothing to ask is sent away after five seconds.
    silent.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert!(daemon.is_running());
}

#[test]
fn check_and_status_wait_for_a_daemon_that_hangs_no_longer_than_ten_seconds() {
    let world = World::new();
    fs::create_dir_all("/run/cni").unwrap();
    // It takes connections into its queue, and says nothing.
    let _hangs = UnixListener::bind(SOCKET).unwrap();
    let c1 = world.plugged("c1");
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/c1" }],
        "ips": [{ "address": "10.240.0.100/24", "interface": 0 }],
    });
    let plugin = world.plugin();
    let conf = alone(json!({ "startDaemon": false }));
    let words = "did not answer within 10s";
    std::thread::scope(|scope| {
        scope.spawn(|| plugin.status(&conf).fails_with(50, words));
        let check = plugin.clone().previous(&previous).check(&c1, &conf);
        check.fails_with(11, words);
    });
}

#[test]
fn status_waits_no_longer_for_a_daemon_that_goes_on_talking() {
    use std::io::Write;
    let world = World::new();
    fs::create_dir_all("/run/cni").unwrap();
    let talks = UnixListener::bind(SOCKET).unwrap();
    let conf = alone(json!({ "startDaemon": false }));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = talks.accept().unwrap();
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let outcome = world.plugin().status(&conf);
        outcome.fails_with(50, "did not answer within 10s");
    });
}

/// `dhcp-ipam list` as a user who is neither root nor the daemon's.
fn listed_by_another_user(world: &World) -> plumb_tests::Ran {
    let file = world.plugin().file().display().to_string();
    // Where the plugin is may be closed to others.
    // By a program of its own: what a process of many threads has open for writing may be so in a child of another one for a
    // moment, and cannot be executed.
    world.host.exec(["cp", &file, "/run/dhcp-ipam"]);
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let words = [&["setpriv"], &user[..], &["/run/dhcp-ipam", "list"]];
    world.host.try_exec(words.concat())
}

#[test]
fn another_user_is_sent_away_whatever_the_sockets_mode_is() {
    let world = World::new();
    let _daemon = world.daemon();
    let mode = fs::metadata(SOCKET).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ids = fs::read_to_string("/proc/self/uid_map").unwrap();
    if ids.split_whitespace().nth(2) == Some("1") {
        // A user namespace with one id, as an ordinary user's: nobody else is in it.
        return;
    }
    let refused = listed_by_another_user(&world);
    assert!(
        !refused.status.success() && refused.stderr.contains("Permission denied"),
        "{refused:?}"
    );
    // Somebody opened it to everybody: the peer's credentials (SO_PEERCRED) count all the same.
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = listed_by_another_user(&world);
    assert!(
        !refused.status.success() && refused.stderr.contains("ended before it answered"),
        "{refused:?}"
    );
    let metrics = world.metrics();
    assert!(
        metrics.contains("of=\"connection-refused\"} 1"),
        "{metrics}"
    );
    assert_eq!(world.said(&["list", "--json"]).trim(), "[]");
}

/// Hundredths of a second of processor time that a process has had.
fn busy(process: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // proc(5): utime and stime are the fields 14 and 15, of which the first two are cut off here.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_daemon_without_a_descriptor_left_waits_and_goes_on_when_there_is_one() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let file = world.plugin().file().display().to_string();
    let daemon = world
        .host
        .spawn(["prlimit", "--nofile=30:30", &file, "daemon"]);
    daemon.until_output_has("listens at", SOON);
    let crowd: Vec<_> = (0..60)
        .map(|_| UnixStream::connect(SOCKET).unwrap())
        .collect();
    daemon.until_output_has("whoever asks must wait: ", SOON);
    // Half of them are not heard, and epoll has it every time: nobody may be kept busy by that.
    let before = busy(&daemon);
    std::thread::sleep(Duration::from_secs(1));
    let spent = busy(&daemon) - before;
    assert!(spent < 20, "{spent} hundredths of a second");
    drop(crowd);
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "startDaemon": false }));
    let result = world.plugin().add(&c1, &conf).succeeds();
    assert_eq!(world.listed("testnet/c1/eth0")["address"], address(&result));
    world.plugin().del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn systemd_listens_and_starts_the_daemon_at_the_first_add() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    fs::create_dir_all("/run/cni").unwrap();
    let file = world.plugin().file().display().to_string();
    // What the socket unit's ListenStream does, without a systemd that runs.
    let systemd = world.host.spawn([
        "systemd-socket-activate",
        "--listen",
        SOCKET,
        &file,
        "daemon",
    ]);
    systemd.until_output_has("Listening on /run/cni/dhcp.sock", SOON);
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "startDaemon": false }));
    let result = world.plugin().add(&c1, &conf).succeeds();
    // One and the same process: systemd-socket-activate executed it.
    let command = fs::read_to_string(format!("/proc/{}/cmdline", systemd.id())).unwrap();
    assert!(command.ends_with("dhcp-ipam\0daemon\0"), "{command:?}");
    assert_eq!(world.listed("testnet/c1/eth0")["address"], address(&result));
    world.plugin().del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn the_units_for_systemd_are_sound() {
    let world = World::new();
    let file = world.plugin().file().display().to_string();
    let service = include_str!("../../../plugins/dhcp-ipam/systemd/dhcp-ipam.service");
    let installed = service.replace("/opt/cni/bin/dhcp-ipam", &file);
    assert_ne!(installed, service);
    let socket = include_str!("../../../plugins/dhcp-ipam/systemd/dhcp-ipam.socket");
    fs::write("/run/dhcp-ipam.service", installed).unwrap();
    fs::write("/run/dhcp-ipam.socket", socket).unwrap();
    assert!(socket.contains(&format!("ListenStream={SOCKET}\nSocketMode=0600\n")));
    let units = ["/run/dhcp-ipam.service", "/run/dhcp-ipam.socket"];
    let verify = ["systemd-analyze", "verify"];
    let ran = world.host.try_exec([&verify[..], &units[..]].concat());
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
}
