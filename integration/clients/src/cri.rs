//! The Container Runtime Interface of containerd: what a kubelet speaks.

use std::path::Path;

use plumb_tests::Ran;
use serde_json::Value;

use crate::{Containerd, Machine};

/// A containerd with its CRI plugin, and the client in `cri/`.
#[derive(Debug)]
pub struct Cri<'machine> {
    machine: &'machine Machine,
    containerd: Containerd<'machine>,
    stubs: String,
}

impl<'machine> Cri<'machine> {
    /// Starts containerd; its networks are those of the machine's `/etc/cni/net.d`, the first of them in fact.
    #[track_caller]
    pub fn start(machine: &'machine Machine) -> Self {
        // Without CAP_SYS_RESOURCE, as in many virtual machines, no oom_score_adj can be lowered.
        let keys = r#"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#;
        let containerd = Containerd::with(machine, keys);
        let stubs = machine.directory("cri");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cri");
        machine.sh(&format!(
            "protoc --proto_path={0} --python_out={stubs} --grpc_out={stubs} \
             --plugin=protoc-gen-grpc=\"$(command -v grpc_python_plugin)\" {0}/cri.proto",
            source.display()
        ));
        let cri = Self {
            machine,
            containerd,
            stubs,
        };
        cri.import("pause", &["/bin/sleep", "1000000"]);
        cri.import("box", &["/bin/sh"]);
        cri
    }

    #[track_caller]
    fn import(&self, name: &str, command: &[&str]) {
        let archive = crate::image::make(self.machine, name, command);
        let archive = archive.to_string_lossy();
        self.containerd
            .ctr(["--namespace", "k8s.io", "image", "import", &archive]);
    }

    /// What containerd has logged.
    #[track_caller]
    pub fn log(&self) -> String {
        self.containerd.log()
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> Ran {
        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/cri/client.py");
        let path = format!("PYTHONPATH={}", self.stubs);
        let mut words = vec![
            "env",
            &path,
            "PYTHONDONTWRITEBYTECODE=1",
            "/usr/bin/python3",
            client,
        ];
        words.push(self.containerd.socket());
        words.extend(arguments);
        self.machine.try_exec(words)
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let ran = self.call(arguments);
        assert!(
            ran.status.success(),
            "{arguments:?}: {}{}\ncontainerd:\n{}",
            ran.stdout,
            ran.stderr,
            self.log()
        );
        ran.stdout.trim().to_owned()
    }

    /// `RunPodSandbox`; `ports` are `HOST:CONTAINER/PROTOCOL`. Returns the pod's id.
    #[track_caller]
    pub fn run_pod(&self, name: &str, ports: &[&str]) -> String {
        self.succeeds(&[&["run-pod", name], ports].concat())
    }

    /// `RunPodSandbox` that must fail. Returns what the runtime says.
    #[track_caller]
    pub fn run_pod_fails(&self, name: &str) -> String {
        let ran = self.call(&["run-pod", name]);
        assert!(!ran.status.success(), "pod {name} runs: {}", ran.stdout);
        ran.stderr
    }

    /// `PodSandboxStatus` with the CNI result, as `{"ips": […], "cni": {…}}`.
    #[track_caller]
    pub fn pod(&self, pod: &str) -> Value {
        serde_json::from_str(&self.succeeds(&["pod", pod])).unwrap()
    }

    /// `CreateContainer` and `StartContainer` of `localhost/box:1`. Returns the container's id.
    #[track_caller]
    pub fn run(&self, pod: &str, name: &str, command: &[&str]) -> String {
        self.succeeds(&[&["run", pod, name], command].concat())
    }

    /// `ExecSync`: runs a command in a container, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn exec(&self, container: &str, command: &[&str]) -> String {
        self.succeeds(&[&["exec", container], command].concat())
    }

    /// `StopPodSandbox`.
    #[track_caller]
    pub fn stop_pod(&self, pod: &str) {
        self.succeeds(&["stop-pod", pod]);
    }

    /// `RemovePodSandbox`.
    #[track_caller]
    pub fn remove_pod(&self, pod: &str) {
        self.succeeds(&["remove-pod", pod]);
    }

    /// `Status`: why the runtime's network is not ready, or nothing where it is.
    #[track_caller]
    pub fn network_fault(&self) -> Option<String> {
        let status: Value = serde_json::from_str(&self.succeeds(&["status"])).unwrap();
        let conditions = status.as_array().cloned().unwrap_or_default();
        let network = conditions
            .iter()
            .find(|condition| condition["type"] == "NetworkReady")
            .unwrap_or_else(|| panic!("no NetworkReady in {status}"));
        (network["status"] != true).then(|| network["message"].to_string())
    }
}
