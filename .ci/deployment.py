"""deployment.py: what no schema knows of manifests: that the pod offers what the configuration counts on and gives up the
rest, and that roles, constraints and policies allow the pod and not more.
"""

import re

import yaml

# Resources of OpenShift alone, whose schemas no registry has: the fields that its API reference marks as required,
# and the others that it knows.
SCC_REQUIRED = {
    "allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID", "allowHostPorts",
    "allowPrivilegedContainer", "allowedCapabilities", "defaultAddCapabilities", "priority",
    "readOnlyRootFilesystem", "requiredDropCapabilities", "volumes",
}
SCC_OPTIONAL = {
    "apiVersion", "kind", "metadata", "allowPrivilegeEscalation", "defaultAllowPrivilegeEscalation", "fsGroup",
    "groups", "runAsUser", "seLinuxContext", "seccompProfiles", "supplementalGroups", "users",
}
# What kinetail asks the API for where the configuration has `kubernetes`: group, resource, verb.
API_ACCESS = {("", kind, verb) for kind in ("pods", "namespaces") for verb in ("get", "list", "watch")} | {("", "nodes", "get")}

# Seconds that an agent may take to open the buffer of its last run, on a slow disk.
STARTUP_BUDGET = 300
# Who may be asked on which port: names and TLS, the API server's own port, and the addresses that hand out credentials.
ANYWHERE, CREDENTIALS = "0.0.0.0/0", {"169.254.169.254/32", "169.254.170.23/32"}
DNS = {(protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)}
DNS_SERVERS = {"any namespace", "169.254.20.10/32"}
TLS, API_SERVER, CREDENTIAL_SERVER = ("TCP", 443), ("TCP", 6443), ("TCP", 80)

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


def check_container(container, pod, config):
    """What the configuration counts on, and what the container gives up."""
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    readable = [m["mountPath"] for m in container["volumeMounts"]]

    folders = {config["data_dir"]} | {d["path"] for d in config["destinations"].values() if d["type"] == "directory"}
    expect(writable == folders, f"writable mounts {writable} are not {folders}")
    for route in config["routes"]:
        for pattern in route["files"]:
            expect(any(under(pattern, mount) for mount in readable), f"{pattern} is not mounted")
    configured = container["args"][container["args"].index("--config") + 1]
    expect(any(under(configured, mount) for mount in readable), f"{configured} is not mounted")

    probes = [container[kind] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container]
    if "admin" in config:
        port = int(config["admin"]["listen"].rpartition(":")[2])
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        expect(probes, "an admin port, and no probe")
        for probe in probes:
            probed = probe["httpGet"]["port"]
            expect(ports.get(probed, probed) == port, f"the probe asks {probed}, the admin port is {port}")
    else:
        expect(not probes, "probes, and no admin port")

    grace = pod["terminationGracePeriodSeconds"]
    expect(grace > seconds(config.get("drain_timeout", "20s")), f"a grace period of {grace} s is over before drain_timeout")

    given = {variable["name"] for variable in container.get("env", [])}
    for name, default in re.findall(r"\$\{env:(\w+)(:-)?", yaml.safe_dump(config)):
        expect(default or name in given, f"the configuration takes {name} from the environment: it is not there")

    security = container["securityContext"]
    added = security["capabilities"].get("add", [])
    expect(security["capabilities"]["drop"] == ["ALL"] and added in ([], ["DAC_READ_SEARCH"]), "capabilities are kept")
    expect(security["allowPrivilegeEscalation"] is False, "privileges may be gained")
    expect(security["readOnlyRootFilesystem"] is True, "the root file system can be written")
    expect(pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, "seccomp is off")
    for volume in pod["volumes"]:
        if "hostPath" in volume:
            mounted = next(m for m in container["volumeMounts"] if m["name"] == volume["name"])
            path, at = volume["hostPath"]["path"], mounted["mountPath"]
            # What the image has, too, is the node's below /host.
            beside = at == f"/host{path}" and mounted.get("readOnly") is True
            expect(at == path or beside, f"{volume['name']} is mounted elsewhere than on the node")


def check_daemon_set(daemon_set, config):
    """What an agent of each node needs beside what any container of kinetail does."""
    update = daemon_set["spec"]["updateStrategy"]
    expect(update["type"] == "RollingUpdate", f"the update strategy is {update['type']}")
    rolling = update.get("rollingUpdate", {})
    expect(rolling.get("maxSurge") == 0, "an update starts a second agent on a node, and both want its data_dir")
    expect(rolling.get("maxUnavailable") not in (None, 0, "0%"), "an update could stop no agent, and may start no second")
    pod = daemon_set["spec"]["template"]["spec"]
    expect(pod.get("tolerations") == [{"operator": "Exists"}], "nodes with a taint would have no agent")
    expect(pod.get("priorityClassName") == "system-node-critical", "the agent would be evicted before what it reports on")

    (container,) = pod["containers"]
    resources = container["resources"]
    expect({"cpu", "memory"} <= set(resources["requests"]), "the scheduler is not told what the agent needs")
    expect("memory" in resources["limits"] and "cpu" not in resources["limits"], "a limit on memory, and none on CPU")
    name = [variable for variable in container["env"] if variable["name"] == "NODE_NAME"]
    by_downward_api = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    expect(name == [by_downward_api], "the node's name is not the downward API's")
    if "admin" in config:
        asked = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for probe, path in asked.items():
            found = container.get(probe, {}).get("httpGet", {}).get("path")
            expect(found == path, f"the {probe} asks {found}, not {path}")
        startup = container.get("startupProbe", {})
        budget = startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10)
        expect(budget >= STARTUP_BUDGET, f"after {budget} s an agent that opens a large buffer is killed")


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
    # The token for the API server comes as a projected volume that no manifest names.
    used = {kind for volume in pod["volumes"] for kind in volume if kind != "name"} | {"projected"}
    expect(set(scc["volumes"]) == used, f"the constraints allow the volumes {scc['volumes']}, the pod uses {sorted(used)}")
    user = pod["securityContext"]["runAsUser"]
    expect(scc["runAsUser"] == {"type": "MustRunAs", "uid": user}, f"the constraints say {scc['runAsUser']}, the pod is user {user}")
    for refused in ("allowPrivilegeEscalation", "defaultAllowPrivilegeEscalation"):
        expect(scc.get(refused) is False, f"the constraints do not refuse {refused}")
    expect(scc["readOnlyRootFilesystem"] is True, "the constraints let the root file system be written")
    expect(scc.get("seccompProfiles") == ["runtime/default"], "the constraints let seccomp be turned off")
    expect(not scc["users"] and not scc["groups"] and not scc["defaultAddCapabilities"], "the constraints give more than the binding")
    label = pod["securityContext"].get("seLinuxOptions")
    expect(label == {"type": "spc_t"}, f"with the SELinux label {label} the pod can neither read the logs nor write its folder")
    expect(scc["requiredDropCapabilities"] == ["ALL"], "the constraints leave capabilities")
    added = pod["containers"][0]["securityContext"]["capabilities"].get("add", [])
    expect(scc["allowedCapabilities"] == added, f"the constraints give {scc['allowedCapabilities']}, the pod takes {added}")
    needed = {"allowHostNetwork", "allowHostPorts"} if pod.get("hostNetwork") else set()
    for permission in ("allowPrivilegedContainer", "allowHostNetwork", "allowHostPID", "allowHostIPC", "allowHostPorts"):
        expect(scc[permission] is (permission in needed), f"the constraints say {permission}: {scc[permission]}; the pod needs otherwise")


def check_network(resources, daemon_set, config):
    """That the policy, the service and the monitor mean the pods and the port of the DaemonSet, and who may be asked."""
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    for resource in resources:
        spec = resource.get("spec", {})
        selector = {"Service": spec.get("selector"), "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
                    "PodMonitor": spec.get("selector", {}).get("matchLabels")}.get(resource["kind"])
        if selector is not None:
            expect(selector.items() <= labels.items(), f"{resource['kind']} selects other pods than the agent's")
    names = {p["name"] for p in daemon_set["spec"]["template"]["spec"]["containers"][0]["ports"]}
    asked = [p["targetPort"] for r in resources if r["kind"] == "Service" for p in r["spec"]["ports"]]
    asked += [p["port"] for r in resources if r["kind"] == "PodMonitor" for p in r["spec"]["podMetricsEndpoints"]]
    asked += [p["port"] for r in resources if r["kind"] == "NetworkPolicy" for i in r["spec"]["ingress"] for p in i["ports"]]
    expect(set(asked) <= names, f"ports {set(asked) - names} are not the pod's")
    (policy,) = [r for r in resources if r["kind"] == "NetworkPolicy"]
    check_egress(policy["spec"], config)


def check_egress(policy, config):
    """That what the configuration talks to can be reached, and nothing else."""
    expect(set(policy["policyTypes"]) == {"Ingress", "Egress"}, f"the policy is about {policy['policyTypes']} alone")
    wanted, known = set(), {}
    if any(destination["type"] != "directory" for destination in config["destinations"].values()):
        wanted |= {("UDP", 53), ("TCP", 53), TLS}
        known |= dict.fromkeys(DNS, DNS_SERVERS) | {TLS: {ANYWHERE}, CREDENTIAL_SERVER: CREDENTIALS}
    if "kubernetes" in config:
        wanted |= {TLS, API_SERVER}
        known |= {TLS: {ANYWHERE}, API_SERVER: {ANYWHERE}}
    allowed = set()
    for rule in policy["egress"]:
        peers = {"any namespace" if peer == {"namespaceSelector": {}} else peer.get("ipBlock", {}).get("cidr") for peer in rule.get("to", [])}
        expect(peers and rule.get("ports"), f"a rule of the policy without peers or ports allows all of them: {rule}")
        for port in rule.get("ports", []):
            asked = (port["protocol"], port["port"])
            allowed.add(asked)
            expect(set(port) == {"protocol", "port"}, f"the policy lets more than one port out: {port}")
            expect(peers <= known.get(asked, set()), f"the policy lets {asked} out to {peers}: nothing asks there")
    expect(wanted <= allowed, f"the policy keeps {sorted(wanted - allowed)} in, which the configuration asks for")


def check_api_access(resources, daemon_set, config):
    """Where the configuration has `kubernetes`: a token in the pod, and for its account exactly what kinetail asks for."""
    pod = daemon_set["spec"]["template"]["spec"]
    if "kubernetes" not in config:
        return
    expect(pod.get("automountServiceAccountToken") is True, "the configuration has `kubernetes`, and the pod gets no token")
    account = {
        "kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": daemon_set["metadata"]["namespace"],
    }
    bound = {
        r["roleRef"]["name"]
        for r in resources
        if r["kind"] == "ClusterRoleBinding" and r["roleRef"]["kind"] == "ClusterRole" and account in r["subjects"]
    }
    rules = [rule for r in resources if r["kind"] == "ClusterRole" and r["metadata"]["name"] in bound for rule in r["rules"]]
    expect(all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in rules), f"rules narrower or wider than kinds: {rules}")
    given = {
        (group, kind, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for kind in rule["resources"]
        for verb in rule["verbs"]
    }
    expect(not API_ACCESS - given, f"{account['name']} may not ask the API for {sorted(API_ACCESS - given)}")
    expect(not given - API_ACCESS, f"{account['name']} may ask the API for more than it needs: {sorted(given - API_ACCESS)}")
