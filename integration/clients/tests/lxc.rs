//! Containers of LXC without network, plumbed by `pipework`.
#![cfg(test)]

use plumb_clients::Machine;

/// A machine with busybox containers of LXC that run, by these names.
fn machine_with(names: &[&str]) -> Machine {
    let machine = Machine::boot();
    // Where LXC looks; another machine has another.
    machine.sh("mkdir -p /var/lib/lxc && mount -t tmpfs none /var/lib/lxc");
    for name in names {
        let folder = format!("/var/lib/lxc/{name}");
        machine.sh(&format!(
            "mkdir -p {folder}/rootfs/bin {folder}/rootfs/proc {folder}/rootfs/sys {folder}/rootfs/dev
             cp \"$(command -v busybox)\" {folder}/rootfs/bin/busybox
             for tool in sh sleep ip ping; do ln -s busybox {folder}/rootfs/bin/$tool; done
             printf '%s\\n' 'lxc.uts.name = {name}' 'lxc.rootfs.path = dir:{folder}/rootfs' 'lxc.net.0.type = empty' \
               'lxc.apparmor.profile = unconfined' 'lxc.console.path = none' 'lxc.pty.max = 0' 'lxc.tty.max = 0' \
               'lxc.autodev = 0' 'lxc.mount.auto = proc' > {folder}/config
             lxc-start -n {name} -o {folder}/log -l INFO -- /bin/sleep 1000 || {{ cat {folder}/log >&2; exit 1; }}"
        ));
    }
    machine
}

#[test]
fn pipework_finds_containers_by_name_and_detaches_those_that_stopped() {
    let machine = machine_with(&["web", "db"]);
    machine.set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
    let links = machine.links().len();

    machine.pipework("", "br1 web 192.168.1.1/24");
    machine.pipework("", "br1 lxc:db 192.168.1.2/24@192.168.1.1");

    let inside = |words: &str| machine.sh(&format!("lxc-attach -n db -- {words}"));
    let routes = inside("/bin/ip route");
    assert!(
        routes.contains("default via 192.168.1.1 dev eth1"),
        "{routes}"
    );
    inside("/bin/ping -c 1 -W 20 192.168.1.1");
    let listed = machine.pipework("", "--list");
    assert!(listed.contains("web") && listed.contains("db"), "{listed}");

    machine.sh("lxc-stop -k -n web");
    machine.pipework("", "--gc");
    machine.pipework("", "--del db");
    assert_eq!(machine.links().len(), links, "{:?}", machine.links());
}
