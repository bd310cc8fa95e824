//! A line that is killed half-way: said once more it succeeds, and `--gc` and `--del` find what it left.

use std::fs;
use std::path::Path;

use plumb_tests::our_binaries;

use super::world::World;

/// Has a plugin kill who calls it, before or after its work.
fn kills(world: &World, plugin: &str, when: &str) {
    let file = our_binaries().find(plugin);
    let work = format!("{} \"$@\"", file.display());
    let script = match when {
        "before" => "#!/bin/sh\nkill -9 $PPID\n".to_owned(),
        _ => format!("#!/bin/sh\n{work} > /dev/null\nkill -9 $PPID\n"),
    };
    let path = Path::new("/run/plugins").join(plugin);
    fs::remove_file(&path).unwrap();
    world.feed(["tee", path.to_str().unwrap()], &script);
    world.sh(&format!("chmod +x {}", path.display()));
}

fn mended(plugin: &str) {
    let path = Path::new("/run/plugins").join(plugin);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(our_binaries().find(plugin), path).unwrap();
}

#[test]
fn a_killed_line_can_be_said_again_deleted_and_collected() {
    for (when, then) in [
        ("before", "again"),
        ("after", "again"),
        ("after", "--del c1"),
        ("after", "--gc"),
    ] {
        std::thread::spawn(move || {
            let world = World::new();
            let before = world.state();
            let c1 = world.container("c1");
            kills(&world, "bridge-attach", when);
            let ran = world.pipework("br1 c1 10.1.0.2/24");
            assert_eq!(ran.status.code(), None, "it was killed: {}", ran.stderr);
            assert_eq!(world.list()[0]["state"], "incomplete");
            mended("bridge-attach");
            if then == "again" {
                world.attaches("br1 c1 10.1.0.2/24");
                assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24");
                assert_eq!(world.list()[0]["state"], "attached");
                return;
            }
            if then == "--gc" {
                c1.vanish();
            }
            world.does(then);
            assert!(world.list().is_empty());
            world.assert_unchanged_since(&before);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_nic_that_was_given_away_by_a_killed_line_comes_back() {
    let world = World::new();
    world.nic();
    world.sh("ip addr add 10.2.0.9/24 brd + dev eth2");
    let before = world.state();
    let c1 = world.container("c1");
    // The NIC is in the guest when the IPAM plugin is called.
    kills(&world, "static-ipam", "before");
    fs::rename("/run/plugins/static-ipam", "/run/plugins/dhcp-ipam.new").unwrap();
    fs::remove_file("/run/plugins/dhcp-ipam").unwrap();
    fs::rename("/run/plugins/dhcp-ipam.new", "/run/plugins/dhcp-ipam").unwrap();
    world.pipework("--direct-phys eth2 c1 dhcp");
    assert!(
        c1.link("eth1").is_some(),
        "the plugin was killed with the NIC in the guest"
    );
    world.feed(["tee", "/run/plugins/dhcp-ipam"], "#!/bin/sh\nexit 0\n");
    world.does("--del c1");
    world.until_nic_runs();
    world.assert_unchanged_since(&before);
}
