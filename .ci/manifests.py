"""manifests.py BINARY FILE...: checks manifests as the API server, the kubelet and kinetail would read them.

Each resource against the schemas of three Kubernetes versions; the configuration in the ConfigMap with
`kinetail check`; and what no schema knows: that the pod offers what the configuration counts on, and that
the SecurityContextConstraints allow the pod.
"""

import os
import re
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

# The oldest that a supported OpenShift is built on, one between, and the newest that has schemas.
VERSIONS = ["1.28", "1.32", "1.37"]

# SecurityContextConstraints are a resource of OpenShift alone, without a schema in kubernetes-validate:
# the fields that its API reference marks as required, and the others that it knows.
SCC_REQUIRED = {
    "allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID", "allowHostPorts",
    "allowPrivilegedContainer", "allowedCapabilities", "defaultAddCapabilities", "priority",
    "readOnlyRootFilesystem", "requiredDropCapabilities", "volumes",
}
SCC_OPTIONAL = {
    "apiVersion", "kind", "metadata", "allowPrivilegeEscalation", "defaultAllowPrivilegeEscalation", "fsGroup",
    "groups", "runAsUser", "seLinuxContext", "seccompProfiles", "supplementalGroups", "users",
}

problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)


def seconds(time):
    """A time as kinetail's configuration writes it."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h|d)", str(time)).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def under(path, folder):
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def check_schema(resource):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            expect(resource["kind"] == "SecurityContextConstraints", f"{resource['kind']}: no schema in {version}")
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            expect(False, f"{resource['kind']} against {version}: {where}: {error.message}")


def check_namespaces(resources):
    """One file must be enough: what it puts into a namespace, it puts into the one that it makes."""
    made = {r["metadata"]["name"] for r in resources if r["kind"] == "Namespace"}
    for resource in resources:
        namespace = resource["metadata"].get("namespace")
        expect(namespace is None or namespace in made, f"{resource['kind']}: namespace {namespace} is not made here")


def check_pod(pod, config):
    """What the configuration counts on, and what the pod gives up."""
    (container,) = pod["containers"]
    writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
    readable = [m["mountPath"] for m in container["volumeMounts"]]

    expect(writable == [config["data_dir"]], f"writable mounts {writable} are not data_dir alone")
    for route in config["routes"]:
        for pattern in route["files"]:
            expect(any(under(pattern, mount) for mount in readable), f"{pattern} is not mounted")
    configured = container["args"][container["args"].index("--config") + 1]
    expect(any(under(configured, mount) for mount in readable), f"{configured} is not mounted")

    port = int(config["admin"]["listen"].rpartition(":")[2])
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    probed = container["livenessProbe"]["httpGet"]["port"]
    expect(ports.get(probed, probed) == port, f"the probe asks {probed}, the admin port is {port}")

    grace = pod["terminationGracePeriodSeconds"]
    expect(grace > seconds(config["drain_timeout"]), f"a grace period of {grace} s is over before drain_timeout")

    given = {variable["name"] for variable in container["env"]}
    for name, default in re.findall(r"\$\{env:(\w+)(:-)?", yaml.safe_dump(config)):
        expect(default or name in given, f"the configuration takes {name} from the environment: it is not there")

    security = container["securityContext"]
    expect(security["capabilities"] == {"drop": ["ALL"]}, "capabilities are kept")
    expect(security["allowPrivilegeEscalation"] is False, "privileges may be gained")
    expect(security["readOnlyRootFilesystem"] is True, "the root file system can be written")
    expect(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, "seccomp is off")
    for volume in pod["volumes"]:
        mounted = next(m for m in container["volumeMounts"] if m["name"] == volume["name"])
        if "hostPath" in volume:
            expect(volume["hostPath"]["path"] == mounted["mountPath"], f"{volume['name']} is mounted elsewhere than on the node")


def check_scc(scc, resources, daemon_set):
    """That the constraints are whole, that the pod's account may use them, and that they let the pod in."""
    expect(SCC_REQUIRED <= set(scc), f"constraints lack {sorted(SCC_REQUIRED - set(scc))}")
    unknown = set(scc) - SCC_REQUIRED - SCC_OPTIONAL
    expect(not unknown, f"constraints have unknown fields {sorted(unknown)}")

    name = scc["metadata"]["name"]
    template = daemon_set["spec"]["template"]
    pod = template["spec"]
    expect(template["metadata"]["annotations"].get("openshift.io/required-scc") == name, "the pod asks for others")
    roles = {
        r["metadata"]["name"]
        for r in resources
        if r["kind"] in ("Role", "ClusterRole")
        for rule in r["rules"]
        if "securitycontextconstraints" in rule["resources"] and rule["resourceNames"] == [name] and "use" in rule["verbs"]
    }
    users = {
        subject["name"]
        for r in resources
        if r["kind"] in ("RoleBinding", "ClusterRoleBinding") and r["roleRef"]["name"] in roles
        for subject in r["subjects"]
        if subject["kind"] == "ServiceAccount" and subject["namespace"] == daemon_set["metadata"]["namespace"]
    }
    expect(pod["serviceAccountName"] in users, f"{pod['serviceAccountName']} may not use the constraints")
    for volume in pod["volumes"]:
        (kind,) = set(volume) - {"name"}
        expect(kind in scc["volumes"], f"the constraints forbid the volume {volume['name']}")
    expect(scc["requiredDropCapabilities"] == ["ALL"], "the constraints leave capabilities")
    for forbidden in ("allowPrivilegedContainer", "allowHostNetwork", "allowHostPID", "allowHostIPC", "allowHostPorts"):
        expect(scc[forbidden] is False, f"the constraints give {forbidden}, which the pod does not need")


def check_config(binary, text, pod):
    """`kinetail check`, with the variables that the pod would have."""
    (container,) = pod["containers"]
    environment = dict(os.environ, **{v["name"]: v.get("value", "ci-node") for v in container["env"]})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        check = [binary, "check", "--config", file.name]
        done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"kinetail check: exit {done.returncode}\n{done.stdout}{done.stderr}")


def check_file(binary, path):
    with open(path, encoding="utf-8") as file:
        resources = [resource for resource in yaml.safe_load_all(file) if resource]
    for resource in resources:
        check_schema(resource)
    check_namespaces(resources)

    def the(kind):
        (found,) = [resource for resource in resources if resource["kind"] == kind]
        return found

    daemon_set = the("DaemonSet")
    pod = daemon_set["spec"]["template"]["spec"]
    text = the("ConfigMap")["data"]["kinetail.yaml"]
    check_pod(pod, yaml.safe_load(text))
    if any(resource["kind"] == "SecurityContextConstraints" for resource in resources):
        check_scc(the("SecurityContextConstraints"), resources, daemon_set)
    check_config(binary, text, pod)
    return len(resources)


binary, *paths = sys.argv[1:]
for path in paths:
    before = len(problems)
    count = check_file(binary, path)
    for problem in problems[before:]:
        print(f"{path}: {problem}")
    if len(problems) == before:
        print(f"{path}: {count} resources hold against Kubernetes {', '.join(VERSIONS)}, and kinetail takes the configuration")
sys.exit(1 if problems else 0)
