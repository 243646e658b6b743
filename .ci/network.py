"""network.py: who may be asked and who may ask, by the network policies, the service and the monitor."""

import yaml
from findings import expect

# A rule is for one family of addresses.
ANYWHERE = {"0.0.0.0/0", "::/0"}
# Hand out credentials: the metadata of instances, and the agent of EKS Pod Identity.
INSTANCE_METADATA = {"169.254.169.254/32", "fd00:ec2::254/128"}
POD_IDENTITY = {"169.254.170.23/32", "fd00:ec2::23/128"}
TLS, API_SERVER, CREDENTIALS = ("TCP", 443), ("TCP", 6443), ("TCP", 80)
# Where nodes of a hosted control plane reach it, as HyperShift has it unless told otherwise.
HOSTED_API_SERVER = "172.20.0.1/32"
# Those of the cluster, and the cache on the node.
NAMES = {(protocol, 53): {"any namespace", "169.254.20.10/32"} for protocol in ("UDP", "TCP")} | {
    (protocol, 5353): {"any namespace"} for protocol in ("UDP", "TCP")
}
# Where OpenShift's own Prometheus runs, and the one for users' workloads.
OPENSHIFT_MONITORING = ["openshift-monitoring", "openshift-user-workload-monitoring"]


def check_network(resources, daemon_set, config, overlay):
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

    (service,) = [r["spec"] for r in resources if r["kind"] == "Service"]
    expect(service.get("clusterIP") == "None", "the service is not headless: its address would be one agent or another")
    expect(service.get("publishNotReadyAddresses") is True, "the service hides the agents that are worth a look")
    (policy,) = [r["spec"] for r in resources if r["kind"] == "NetworkPolicy"]
    expect(set(policy["policyTypes"]) == {"Ingress", "Egress"}, f"the policy is about {policy['policyTypes']} alone")
    check_ingress(policy, overlay)
    check_egress(policy, config)


def check_ingress(policy, overlay):
    every = [{"namespaceSelector": {}}]
    prometheus = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in OPENSHIFT_MONITORING]
    let_in = [peer for rule in policy["ingress"] for peer in rule.get("from", ["anybody"])]
    expect(let_in == (prometheus if overlay == "openshift" else every), f"the policy lets in {let_in}")


def check_egress(policy, config):
    """That what the configuration talks to can be reached, by either family of addresses, and nothing else; and that whoever
    narrows one of the rules for TLS, to VPC endpoints or to the API server, does not cut off the other.
    """
    wanted, apart = {}, []
    if any(destination["type"] != "directory" for destination in config["destinations"].values()):
        wanted |= NAMES | {TLS: ANYWHERE, CREDENTIALS: INSTANCE_METADATA | POD_IDENTITY}
        apart.append([TLS])
    if "kubernetes" in config:
        # Its own port may be either, and its service's is the first.
        wanted |= {TLS: ANYWHERE, API_SERVER: ANYWHERE}
        apart.append([TLS, API_SERVER])
    rules = [[(port["protocol"], port["port"]) for port in rule.get("ports", [])] for rule in policy["egress"]]
    tls = sorted(sorted(ports) for ports in rules if TLS in ports)
    expect(tls == sorted(apart), f"AWS and the API server have no rule each, with {sorted(apart)}, but {tls}")
    allowed = {}
    for rule in policy["egress"]:
        peers = {"any namespace" if peer == {"namespaceSelector": {}} else peer.get("ipBlock", {}).get("cidr") for peer in rule.get("to", [])}
        expect(peers and rule.get("ports"), f"a rule of the policy without peers or ports allows all of them: {rule}")
        for port in rule.get("ports", []):
            expect(set(port) == {"protocol", "port"}, f"the policy lets more than one port out: {port}")
            allowed.setdefault((port["protocol"], port["port"]), set()).update(peers)
    for port in wanted.keys() | allowed.keys():
        needed, given = wanted.get(port, set()), allowed.get(port, set())
        expect(needed <= given, f"the policy keeps {port} to {sorted(needed - given)} in, which the configuration asks for")
        expect(given <= needed, f"the policy lets {port} out to {sorted(map(str, given - needed))}: nothing asks there")


def check_egress_firewall(firewall, optional):
    """The example: by name to the services of AWS, to the API server, for credentials, and to nobody else by either family; with
    the rules that are comments in it (`optional`), to CloudWatch and to a hosted control plane, too.
    """
    expect(firewall["metadata"]["name"] == "default", "EgressFirewall: its one name is default")
    rules = firewall["spec"]["egress"]
    denied = [rule["to"].get("cidrSelector") for rule in rules if rule["type"] == "Deny"]
    expect(set(denied) == ANYWHERE, f"EgressFirewall: of {sorted(ANYWHERE)} it denies {denied}")
    expect([rule["type"] for rule in rules[-len(denied):]] == ["Deny"] * len(denied), "EgressFirewall: allows what it denied before")
    region = "eu-central-1"
    wanted = {(f"{service}.{region}.amazonaws.com", TLS) for service in ("firehose", "kinesis", "sts")}
    wanted |= {(address, CREDENTIALS) for address in INSTANCE_METADATA}
    wanted |= {(yaml.safe_dump({"matchLabels": {"node-role.kubernetes.io/control-plane": ""}}), API_SERVER)}
    if optional:
        wanted |= {(f"monitoring.{region}.amazonaws.com", TLS), (HOSTED_API_SERVER, API_SERVER)}
    allowed = set()
    for rule in rules:
        if rule["type"] == "Allow":
            (to,) = rule["to"].values()
            expect(rule.get("ports"), f"EgressFirewall: a rule without ports allows all of them: {rule}")
            to = to if isinstance(to, str) else yaml.safe_dump(to)
            allowed |= {(to, (port["protocol"], port["port"])) for port in rule.get("ports", [])}
    expect(allowed == wanted, f"EgressFirewall: allows {sorted(allowed ^ wanted, key=str)} too much or too little")
