"""deployment.py: what no schema knows of manifests: that the pod offers what the configuration counts on and gives up the
rest, that the namespace lets it in, and that roles allow it what it needs and not more.
"""

import re

import yaml
from findings import expect

# What kinetail asks the API for where the configuration has `kubernetes`: group, resource, verb.
API_ACCESS = {("", kind, verb) for kind in ("pods", "namespaces") for verb in ("get", "list", "watch")} | {("", "nodes", "get")}

# Seconds that an agent may take to open the buffer of its last run, on a slow disk.
STARTUP_BUDGET = 300
# Nodes of Fargate and of virtual kubelets, which run no DaemonSets though their taints are tolerated.
NO_MACHINES = [
    {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
    {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
]
# More nodes than Kubernetes itself can have.
MANY_NODES = 100_000
# Seconds from the end of drain_timeout to that of the grace period: to write down what was not delivered.
ENDING = 20
# What each probe asks for.
PROBES = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "KiB": 10, "MiB": 20, "GiB": 30}


def seconds(time):
    """A time as kinetail's configuration writes it."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h|d)", str(time)).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def listed(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def size(text):
    """Bytes, as kinetail's configuration or a claim writes them."""
    number, unit = re.fullmatch(r"(\d+)([KMG]iB?)", str(text)).groups()
    return int(number) << UNITS[unit]


def under(path, folder):
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def check_container(container, pod, config):
    """What the configuration counts on, and what the container gives up."""
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    readable = [m["mountPath"] for m in container["volumeMounts"]]

    folders = {config["data_dir"]} | {d["path"] for d in config["destinations"].values() if d["type"] == "directory"}
    expect(writable == folders, f"writable mounts {writable} are not {folders}")
    for route in config["routes"]:
        journal = route.get("journal", {})
        # A command names the loader, where it looks for libraries, and the program.
        programs = [path for part in journal.get("command", []) for path in part.split(":") if path.startswith("/")]
        for path in listed(route.get("files", [])) + listed(journal.get("folders", [])) + programs:
            expect(any(under(path, mount) for mount in readable), f"{path} is not mounted")
    configured = container["args"][container["args"].index("--config") + 1]
    expect(any(under(configured, mount) for mount in readable), f"{configured} is not mounted")

    probes = [container[kind] for kind in PROBES if kind in container]
    for kind in PROBES.keys() & container.keys():
        path = container[kind]["httpGet"]["path"]
        expect(path == PROBES[kind], f"the {kind} asks {path}, not {PROBES[kind]}")
    if "admin" in config:
        port = int(config["admin"]["listen"].rpartition(":")[2])
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        expect(probes, "an admin port, and no probe")
        for probe in probes:
            probed = probe["httpGet"]["port"]
            expect(ports.get(probed, probed) == port, f"the probe asks {probed}, the admin port is {port}")
    else:
        expect(not probes, "probes, and no admin port")

    if "--once" not in container["args"]:
        expect(config.get("watch_config") is True, "a change of the ConfigMap would take a restart")
    for mount in container["volumeMounts"]:
        expect("subPath" not in mount and "subPathExpr" not in mount, f"{mount['mountPath']}: kubelet brings no change to a subPath")

    grace = pod["terminationGracePeriodSeconds"]
    drain = seconds(config.get("drain_timeout", "20s"))
    last_read = config.get("tail", {}).get("read_on_stop", False)
    ending = drain * (2 if last_read else 1)
    expect(grace >= ending + ENDING, f"a grace period of {grace} s leaves no {ENDING} s after drain_timeout, {ending:g} s in all")
    short_lived = [m["mountPath"] for m in container["volumeMounts"] for v in pod["volumes"] if v["name"] == m["name"] and "emptyDir" in v]
    for pattern in (pattern for route in config["routes"] for pattern in listed(route.get("files", []))):
        goes = any(under(pattern, folder) for folder in short_lived)
        expect(last_read or not goes, f"{pattern} goes with the pod, and tail.read_on_stop is off")

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
    if pod.get("hostNetwork"):
        expect(pod.get("dnsPolicy") == "ClusterFirstWithHostNet", "on the node's network names of the cluster are not known")
        expect(all(p.get("hostPort") == p["containerPort"] for p in container["ports"]), "on the node's network a port is the node's")
    check_state(container, pod, config)


def check_state(container, pod, config):
    """That data_dir outlives the pod, is the pod's to write, and that what may be in it fits."""
    (mounted,) = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == config["data_dir"]]
    claims = {claim["metadata"]["name"]: claim for claim in pod.get("claims", [])}
    (volume,) = [v for v in pod["volumes"] if v["name"] == mounted] or [{"persistentVolumeClaim": {"claimName": mounted}}]
    if "hostPath" in volume:
        expect(pod["securityContext"]["runAsUser"] == 0, "kubelet makes the folder of the state root's")
        return
    expect("persistentVolumeClaim" in volume, f"data_dir is on {volume}, which ends with the pod")
    security = pod["securityContext"]
    expect("fsGroup" in security, "the claim is root's, and nobody else may write it")
    expect(security.get("fsGroupChangePolicy") == "OnRootMismatch", "each start lets the group write all of data_dir")
    claim = claims.get(volume["persistentVolumeClaim"]["claimName"])
    expect(claim is not None, "the claim of data_dir is not made here")
    if claim is not None:
        room = size(claim["spec"]["resources"]["requests"]["storage"])
        letters = sum(size(to["dead_letters"]["max_size"]) for to in config["destinations"].values())
        most = size(config["buffer"]["max_size"]) + size(config["buffer"]["min_disk_free"]) + letters
        expect(most <= room, f"data_dir may hold {most} bytes, and the claim {room}")
        expect(claim["spec"]["accessModes"] == ["ReadWriteOncePod"], "two pods could have one data_dir")


def check_cron_job(spec, pod):
    """That a run ends, that two never run, and that one which failed is tried again."""
    (container,) = pod["containers"]
    job = spec["jobTemplate"]["spec"]
    expect("--once" in container["args"], "the job never ends")
    expect(spec["concurrencyPolicy"] == "Forbid", "two runs would want one data_dir")
    expect(pod["restartPolicy"] == "OnFailure" and job["backoffLimit"] > 0, "a run that failed is not tried again")
    expect("activeDeadlineSeconds" in job, "where nothing can be delivered the job waits for ever")


def check_daemon_set(daemon_set, config):
    """What an agent of each node needs beside what any container of kinetail does."""
    update = daemon_set["spec"]["updateStrategy"]
    expect(update["type"] == "RollingUpdate", f"the update strategy is {update['type']}")
    rolling = update.get("rollingUpdate", {})
    expect(rolling.get("maxSurge") == 0, "an update starts a second agent on a node, and both want its data_dir")
    expect(rolling.get("maxUnavailable") not in (None, 0, "0%"), "an update could stop no agent, and may start no second")
    expect(daemon_set["spec"].get("minReadySeconds", 0) > 0, "an update goes on before a stream could refuse the first records")
    pod = daemon_set["spec"]["template"]["spec"]
    expect(pod.get("tolerations") == [{"operator": "Exists"}], "nodes with a taint would have no agent")
    machines = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": NO_MACHINES}]}}
    affinity = pod.get("affinity")
    expect(affinity == {"nodeAffinity": machines}, f"pods would wait for ever on nodes that take none, or are kept off others: {affinity}")
    expect(pod.get("nodeSelector") == {"kubernetes.io/os": "linux"}, f"the nodes are selected by {pod.get('nodeSelector')}")
    expect(pod.get("priorityClassName") == "system-node-critical", "the agent would be evicted before what it reports on")

    (container,) = pod["containers"]
    resources = container["resources"]
    expect({"cpu", "memory"} <= set(resources["requests"]), "the scheduler is not told what the agent needs")
    expect("memory" in resources["limits"] and "cpu" not in resources["limits"], "a limit on memory, and none on CPU")
    name = [variable for variable in container["env"] if variable["name"] == "NODE_NAME"]
    by_downward_api = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    expect(name == [by_downward_api], "the node's name is not the downward API's")
    if "admin" in config:
        expect(PROBES.keys() <= container.keys(), f"the agent has no {sorted(PROBES.keys() - container.keys())}")
        startup = container.get("startupProbe", {})
        budget = startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10)
        expect(budget >= STARTUP_BUDGET, f"after {budget} s an agent that opens a large buffer is killed")


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


def check_admission(resources, daemon_set):
    """That the namespace admits the DaemonSet's pods, on clusters that ask for a level of security or for a quota."""
    (namespace,) = [r["metadata"] for r in resources if r["kind"] == "Namespace"]
    level = namespace["labels"].get("pod-security.kubernetes.io/enforce")
    expect(level == "privileged", f"at the level {level} no folder of the node may be mounted")
    for told in ("audit", "warn"):
        expect(namespace["labels"].get(f"pod-security.kubernetes.io/{told}") == level, f"each pod would be told of ({told})")

    quotas = [r["spec"] for r in resources if r["kind"] == "ResourceQuota"]
    of_class = {
        "scopeName": "PriorityClass", "operator": "In",
        "values": [daemon_set["spec"]["template"]["spec"]["priorityClassName"]],
    }
    scopes = [{"matchExpressions": [of_class]}]
    expect([quota.get("scopeSelector") for quota in quotas] == scopes, f"no quota lets pods of this priority in: {quotas}")
    for quota in quotas:
        expect(set(quota["hard"]) == {"pods"}, f"the quota limits more than the number of pods: {quota['hard']}")
        number, unit = re.fullmatch(r"(\d+)([kMG]?)", str(quota["hard"]["pods"])).groups()
        pods = int(number) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[unit]
        expect(pods > MANY_NODES, f"with {pods} pods some nodes would have no agent")


def check_order(resources):
    """In the single file, and so in time, what pods need stands before the DaemonSet."""
    kinds = [resource["kind"] for resource in resources]
    expect(kinds[:2] == ["Namespace", "ResourceQuota"], f"it begins with {kinds[:2]}, not with what lets pods in")
    expect(kinds[-1] == "DaemonSet", f"{kinds[kinds.index('DaemonSet') + 1:]} come later than the first pods")


def check_role_annotation(resources):
    """EKS: the place for the role, with one that has the form of a role."""
    (account,) = [r["metadata"] for r in resources if r["kind"] == "ServiceAccount"]
    role = account.get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
    expect(re.fullmatch(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+", role), f"the account's role is {role!r}")


def check_secret(secret, daemon_set):
    """That the example's keys are the files that the pod is told of, in the Secret that it mounts."""
    namespace = daemon_set["metadata"]["namespace"]
    expect(secret["metadata"].get("namespace") == namespace, f"the Secret is not in the namespace {namespace}")
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = [v for v in pod["volumes"] if v.get("secret", {}).get("secretName") == secret["metadata"]["name"]] or [{}]
    expect(volume.get("secret", {}).get("optional") is True, "pods whose role gives them keys wait for the Secret, or do not mount it")
    folders = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == volume.get("name")]
    told = {v["name"]: v["value"] for v in container["env"] if v["name"] in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")}
    files = {f"{folder}/{key}" for folder in folders for key in secret["stringData"]}
    expect(len(told) == 2 and set(told.values()) == files, f"the pod is told of {told}, the Secret has {sorted(files)}")
    for variable, key in (("AWS_SHARED_CREDENTIALS_FILE", "aws_access_key_id"), ("AWS_CONFIG_FILE", "region")):
        text = secret["stringData"].get(told.get(variable, "").rpartition("/")[2], "")
        expect(text.startswith("[default]\n") and f"{key} = " in text, f"the file that {variable} names has no {key}")
