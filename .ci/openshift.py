"""openshift.py: what OpenShift asks for beyond Kubernetes: the constraints on the pod, and who may look at it."""

from findings import expect

# What container types may neither read nor write, at the level of the node's own files.
LABEL = {"type": "spc_t", "level": "s0"}


def check_openshift(resources, daemon_set):
    def the(kind):
        (found,) = [resource for resource in resources if resource["kind"] == kind]
        return found

    check_scc(the("SecurityContextConstraints"), resources, daemon_set)
    namespace = the("Namespace")["metadata"]
    selector = namespace.get("annotations", {}).get("openshift.io/node-selector")
    expect(selector == "", f"the namespace's node selector is {selector!r}: a default one of the cluster would keep agents off nodes")
    monitored = namespace["labels"].get("openshift.io/cluster-monitoring")
    expect(monitored == "true", "the platform's Prometheus would not look at the namespace")
    (role,) = [r for r in resources if r["kind"] == "Role"]
    looks = [{"apiGroups": [""], "resources": ["services", "endpoints", "pods"], "verbs": ["get", "list", "watch"]}]
    expect(role["rules"] == looks, f"Prometheus may {role['rules']} in the namespace")
    (binding,) = [r for r in resources if r["kind"] == "RoleBinding" and r["roleRef"]["kind"] == "Role"]
    expect(binding["roleRef"]["name"] == role["metadata"]["name"], "Prometheus' role is not bound")
    prometheus = {"kind": "ServiceAccount", "name": "prometheus-k8s", "namespace": "openshift-monitoring"}
    expect(binding["subjects"] == [prometheus], f"the role to look at pods is {binding['subjects']}'s")


def check_scc(scc, resources, daemon_set):
    """That the pod's account may use the constraints, and that they allow what the pod takes and nothing else."""
    name = scc["metadata"]["name"]
    template = daemon_set["spec"]["template"]
    pod = template["spec"]
    expect(template["metadata"]["annotations"].get("openshift.io/required-scc") == name, "the pod asks for other constraints")
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
    label = pod["securityContext"].get("seLinuxOptions")
    expect(label == LABEL, f"with the SELinux label {label} the pod can neither read the logs nor write its folder")

    wanted = needed_constraints(pod)
    given = {field: value for field, value in scc.items() if field not in ("apiVersion", "kind", "metadata")}
    given["volumes"] = sorted(given.get("volumes") or [])
    for field in sorted(wanted.keys() | given.keys()):
        says = f"the constraints say {field}: {given[field]}" if field in given else f"the constraints say nothing of {field}"
        needs = f"the pod needs {wanted[field]}" if field in wanted else "the pod needs none"
        expect(field in given and field in wanted and given[field] == wanted[field], f"{says}; {needs}")


def needed_constraints(pod):
    """All that the pod takes, field by field: the most that constraints may allow, and the least that lets it in."""
    (container,) = pod["containers"]
    context = pod["securityContext"]
    # Where a pod says no group of these kinds, `MustRunAs` gives it the first of the range.
    groups = {
        "fsGroup": {context.get("fsGroup", context["runAsGroup"])},
        "supplementalGroups": set(context.get("supplementalGroups", [])) or {context["runAsGroup"]},
    }
    # The token for the API server comes as a projected volume that no manifest names.
    volumes = {kind for volume in pod["volumes"] for kind in volume if kind != "name"} | {"projected"}
    return {
        "allowHostDirVolumePlugin": "hostPath" in volumes,
        "allowHostIPC": pod.get("hostIPC", False),
        "allowHostNetwork": pod.get("hostNetwork", False),
        "allowHostPID": pod.get("hostPID", False),
        "allowHostPorts": any("hostPort" in port for port in container["ports"]),
        "allowPrivilegeEscalation": False,
        "allowPrivilegedContainer": False,
        "allowedCapabilities": container["securityContext"]["capabilities"].get("add", []),
        "defaultAddCapabilities": [],
        "defaultAllowPrivilegeEscalation": False,
        # The binding says who may use them, for one namespace; these would say it for all.
        "groups": [],
        "users": [],
        "priority": None,
        "readOnlyRootFilesystem": True,
        "requiredDropCapabilities": ["ALL"],
        "runAsUser": {"type": "MustRunAs", "uid": context["runAsUser"]},
        "seLinuxContext": {"type": "MustRunAs", "seLinuxOptions": LABEL},
        "seccompProfiles": ["runtime/default"],
        "volumes": sorted(volumes),
    } | {
        field: {"type": "MustRunAs", "ranges": [{"min": group, "max": group} for group in sorted(those)]}
        for field, those in groups.items()
    }
