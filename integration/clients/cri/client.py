#!/usr/bin/env python3
"""A kubelet's part of the Container Runtime Interface, one call at a time.

    client.py SOCKET run-pod NAME [HOST:CONTAINER/PROTOCOL...]   prints the pod's id
    client.py SOCKET pod POD                                     its addresses and CNI result, as JSON
    client.py SOCKET run POD NAME COMMAND...                     prints the container's id
    client.py SOCKET exec CONTAINER COMMAND...                   ends as the command does
    client.py SOCKET stop-pod POD | remove-pod POD | status

The stubs, cri_pb2 and cri_pb2_grpc, are made from cri.proto by protoc and found by PYTHONPATH.
"""
import json
import sys

import cri_pb2 as cri
import cri_pb2_grpc
import grpc


def pod_config(name, ports=()):
    mappings = []
    for port in ports:
        host, _, rest = port.partition(":")
        container, _, protocol = rest.partition("/")
        mappings.append(cri.PortMapping(
            protocol=cri.Protocol.Value(protocol.upper()), container_port=int(container), host_port=int(host)))
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid="uid-" + name, namespace="default"),
        hostname=name, log_directory="/run/testbed/pods/" + name,
        dns_config=cri.DNSConfig(servers=["10.0.0.53"], searches=["pods.test"]),
        port_mappings=mappings, linux=cri.LinuxPodSandboxConfig())


def main(socket, verb, *arguments):
    runtime = cri_pb2_grpc.RuntimeServiceStub(grpc.insecure_channel("unix://" + socket))
    if verb == "run-pod":
        config = pod_config(arguments[0], arguments[1:])
        print(runtime.RunPodSandbox(cri.RunPodSandboxRequest(config=config)).pod_sandbox_id)
    elif verb == "pod":
        answer = runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=arguments[0], verbose=True))
        network = answer.status.network
        ips = [network.ip] + [address.ip for address in network.additional_ips]
        print(json.dumps({"ips": ips, "cni": json.loads(answer.info["info"]).get("cniResult")}))
    elif verb == "run":
        pod, name, *command = arguments
        metadata = runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=pod)).status.metadata
        container = runtime.CreateContainer(cri.CreateContainerRequest(
            pod_sandbox_id=pod, sandbox_config=pod_config(metadata.name),
            config=cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name=name), image=cri.ImageSpec(image="localhost/box:1"),
                command=command, log_path=name + ".log", linux=cri.LinuxContainerConfig())))
        runtime.StartContainer(container)
        print(container.container_id)
    elif verb == "exec":
        container, *command = arguments
        answer = runtime.ExecSync(cri.ExecSyncRequest(container_id=container, cmd=command, timeout=20))
        sys.stdout.write(answer.stdout.decode())
        sys.stderr.write(answer.stderr.decode())
        return answer.exit_code
    elif verb == "stop-pod":
        runtime.StopPodSandbox(cri.PodSandboxRequest(pod_sandbox_id=arguments[0]))
    elif verb == "remove-pod":
        runtime.RemovePodSandbox(cri.PodSandboxRequest(pod_sandbox_id=arguments[0]))
    elif verb == "status":
        conditions = runtime.Status(cri.Empty()).status.conditions
        print(json.dumps([{"type": each.type, "status": each.status, "message": each.message} for each in conditions]))
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except grpc.RpcError as error:
        sys.exit(error.details())
