//! The manifests of `conf-examples/kubernetes`, and the image that their `DaemonSet` runs.
#![cfg(test)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plumb_clients::{Machine, Podman};
use plumb_lab::runtime::NetworkList;
use plumb_tests::{Value, conf, json, until};

fn example() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf-examples/kubernetes"))
        .unwrap()
}

#[track_caller]
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {text}{errors}",
        program.display()
    );
    text
}

/// What `kubectl apply -k` would send.
fn manifests() -> String {
    run("kubectl", &["kustomize", example().to_str().unwrap()])
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn daemonset() -> Value {
    let all = documents(&manifests());
    let found = all.iter().find(|each| each["kind"] == "DaemonSet");
    found.unwrap().clone()
}

#[test]
fn the_schemas_of_kubernetes_accept_the_manifests() {
    let python = env::var_os("KUBERNETES_VALIDATE").expect("make test-clients sets it");
    let folder = env::temp_dir().join(format!("plumb-manifests-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("all.yaml");
    fs::write(&file, manifests()).unwrap();
    let pods = example().join("pods.yaml");

    let arguments = [
        "-m",
        "kubernetes_validate",
        "--kubernetes-version",
        "1.33",
        "--strict",
    ];
    let files = [file.to_str().unwrap(), pods.to_str().unwrap()];
    let said = run(
        PathBuf::from(python),
        &[arguments.as_slice(), &files].concat(),
    );

    assert!(
        said.contains("passed for resource daemonset/plumb"),
        "{said}"
    );
    for pod in ["server", "leased", "router", "client"] {
        assert!(
            said.contains(&format!("passed for resource pod/{pod} ")),
            "{said}"
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

/// The custom resource definition has one key in `spec`: `config`, a string; Multus takes it for a list of plugins, whose
/// name is the resource's.
#[test]
fn each_network_is_what_its_definition_wants() {
    let all = documents(&manifests());
    let networks = all
        .iter()
        .filter(|each| each["kind"] == "NetworkAttachmentDefinition");
    let mut names = Vec::new();
    for network in networks {
        assert_eq!(network["apiVersion"], "k8s.cni.cncf.io/v1");
        let keys: Vec<_> = network["spec"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["config"], "{network}");
        let mut list: Value = network["spec"]["config"].as_str().unwrap().parse().unwrap();
        list["name"] = network["metadata"]["name"].clone();
        let list = NetworkList::from_value(list).unwrap();
        names.push(list.name);
    }
    names.sort();
    assert_eq!(names, ["lab", "lan-static", "trunk", "vlan100-dhcp"]);
}

/// podman's options for what a container of the `DaemonSet` says: its command, mounts and privileges.
fn as_podman(container: &Value, volumes: &Value, node: &str) -> Vec<String> {
    let mut words: Vec<String> = [
        "run",
        "--rm",
        "--network",
        "host",
        "--security-opt",
        "no-new-privileges",
    ]
    .map(str::to_owned)
    .to_vec();
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    words.push("--read-only".to_owned());
    for (option, key) in [("--cap-drop", "drop"), ("--cap-add", "add")] {
        for capability in context["capabilities"][key]
            .as_array()
            .into_iter()
            .flatten()
        {
            words.extend([option.to_owned(), capability.as_str().unwrap().to_owned()]);
        }
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volume = volumes.as_array().unwrap().iter();
        let volume = volume
            .clone()
            .find(|volume| volume["name"] == mount["name"]);
        let path = volume.unwrap()["hostPath"]["path"].as_str().unwrap();
        // The node's plugins are the machine's own otherwise.
        let path = if path == "/opt/cni/bin" { node } else { path };
        let to = mount["mountPath"].as_str().unwrap();
        let slave = mount["mountPropagation"] == "HostToContainer";
        let options = if mount["readOnly"] == true {
            "ro"
        } else if slave {
            "rw,rslave"
        } else {
            "rw"
        };
        words.extend(["-v".to_owned(), format!("{path}:{to}:{options}")]);
    }
    words.extend(["--entrypoint".to_owned(), container["command"].to_string()]);
    words.push("localhost/plumb:test".to_owned());
    words
}

#[test]
fn the_daemonset_installs_the_plugins_and_its_daemon_keeps_leases_with_the_privileges_it_asks_for()
{
    let machine = Machine::boot();
    let podman = Podman::set_up(&machine, "podman");
    let release = env::var("PLUGIN_DIR").unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../image/build");
    let builder = podman.command();
    machine.exec([
        "env",
        "IMAGE=localhost/plumb:test",
        &format!("BUILDER={builder}"),
        build.to_str().unwrap(),
        &release,
    ]);
    let pod = daemonset()["spec"]["template"]["spec"].clone();
    let node = machine.directory("node");

    podman.run(as_podman(&pod["initContainers"][0], &pod["volumes"], &node));
    let mut installed: Vec<_> = fs::read_dir(&node)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    installed.sort();
    let plugins = [
        "bridge-attach",
        "dhcp-ipam",
        "masquerade",
        "static-ipam",
        "vlan",
    ];
    assert_eq!(installed, plugins);

    machine.sh("mkdir -p /run/cni /var/lib/cni/dhcp-ipam");
    let words = podman.words(as_podman(&pod["containers"][0], &pod["volumes"], &node));
    let daemon = machine.spawn(words);
    let up = || Path::new("/run/cni/dhcp.sock").exists();
    assert!(until(Duration::from_secs(30), up), "{}", daemon.output());
    let server = machine.container("server");
    machine.sh("ip link add br0 type bridge && ip link set br0 up
         ip link add port type veth peer name lan netns server && ip link set port master br0 up");
    server.sh("ip addr add 10.240.0.1/24 dev lan; ip link set lan up");
    let range = [
        "--dhcp-range=10.240.0.100,10.240.0.110,1h",
        "--dhcp-leasefile=/run/testbed/leases",
    ];
    let dnsmasq = server.dnsmasq("lan", &range, "DHCP, IP range");
    let c1 = machine.container("c1");
    let ipam = json!({ "type": "dhcp-ipam", "startDaemon": false });
    let conf = conf("bridge-attach", json!({ "bridge": "br0", "ipam": ipam }));

    let result = machine.plugin("bridge-attach").add(&c1, &conf).succeeds();

    let address = result["ips"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("10.240.0.1"), "{address}");
    assert_eq!(
        fs::read_dir("/var/lib/cni/dhcp-ipam")
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|kind| kind == "json")
            })
            .count(),
        1
    );
    machine.plugin("bridge-attach").del(&c1, &conf).succeeds();
    dnsmasq.until_output_has("DHCPRELEASE", Duration::from_secs(30));
}
