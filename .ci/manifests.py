"""manifests.py [--render] BINARY: checks manifests as the API server, the kubelet and kinetail would read them.

Each overlay renders to the single file that stands for it (`--render` writes those files anew), and holds with each
component. Each resource against the schemas of three Kubernetes versions, those of the Prometheus operator against
models made from its published ones; the configuration in each ConfigMap with `kinetail check`; each metric that an alert
asks for against what the binary serves; the policy that the CloudFormation template gives against the one that the binary
prints for its streams; and what no schema knows (deployment.py).
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule
from deployment import check_api_access, check_container, check_daemon_set, check_network, check_scc, expect, problems
from pydantic import ValidationError

# The oldest that a supported OpenShift is built on, one between, and the newest that has schemas.
VERSIONS = ["1.28", "1.32", "1.37"]
MANIFESTS = pathlib.Path("manifests")
TEMPLATE = MANIFESTS / "aws" / "kinetail.cfn.yaml"
OVERLAYS = ["openshift", "eks", "plain", "local"]
# What a component can be added to, where not every overlay.
COMPONENTS = {"host-logs": OVERLAYS, "node-journal": OVERLAYS, "host-network": OVERLAYS, "projected-token": ["plain", "openshift"], "monitoring": ["eks", "plain", "local"]}
# Resources of the Prometheus operator.
MODELS = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}

kubectl = pathlib.Path(sys.executable).parent / "kubectl"


def kustomize(folder):
    return subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout


def rendered(overlay):
    """The single file: what the overlay's own first comment says, and what it makes."""
    folder = MANIFESTS / "overlays" / overlay
    head = re.match(r"(#.*\n)+", (folder / "kustomization.yaml").read_text(encoding="utf-8")).group()
    said = f"#\n# Rendered from {folder} by `.ci/manifests.py --render`: change it there.\n"
    return head + said + kustomize(folder)


def with_components(overlay, components):
    """The overlay with components, as somebody would write it down beside this repository."""
    with tempfile.TemporaryDirectory(dir="target") as folder:
        root = os.path.relpath(MANIFESTS, folder)
        own = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{root}/overlays/{overlay}"],
            "components": [f"{root}/components/{component}" for component in components],
        }
        pathlib.Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
        return kustomize(folder)


def check_schema(resource):
    kind = resource["kind"]
    if kind in MODELS:
        try:
            MODELS[kind].model_validate(resource)
        except ValidationError as error:
            expect(False, f"{kind}: {error}")
        unknown = unknown_fields(MODELS[kind], resource)
        expect(not unknown, f"{kind}: unknown fields {unknown}")
        return
    if kind == "EgressFirewall":
        check_egress_firewall(resource)
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            expect(kind == "SecurityContextConstraints", f"{kind}: no schema in {version}")
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            expect(False, f"{kind} against {version}: {where}: {error.message}")


def unknown_fields(model, resource):
    """What a model would not write back: it takes fields that it does not know and leaves them out."""
    def leaves(value, path=""):
        if isinstance(value, dict):
            return {leaf for key, child in value.items() for leaf in leaves(child, f"{path}.{key}")} or {path}
        if isinstance(value, list):
            return {leaf for at, child in enumerate(value) for leaf in leaves(child, f"{path}[{at}]")} or {path}
        return {path}

    known = model.model_validate(resource).model_dump(mode="json", by_alias=True, exclude_none=True)
    return sorted(leaves(resource) - leaves(known))


def check_egress_firewall(resource):
    expect(resource["apiVersion"] == "k8s.ovn.org/v1" and resource["metadata"]["name"] == "default", "EgressFirewall: its one name")
    for rule in resource["spec"]["egress"]:
        expect(rule["type"] in ("Allow", "Deny") and set(rule) <= {"type", "to", "ports"}, f"EgressFirewall: {rule}")
        expect(len(rule["to"]) == 1 and set(rule["to"]) <= {"dnsName", "cidrSelector", "nodeSelector"}, f"EgressFirewall: {rule}")
        for port in rule.get("ports", []):
            expect(port["protocol"] in ("TCP", "UDP", "SCTP") and isinstance(port["port"], int), f"EgressFirewall: {port}")
    expect(resource["spec"]["egress"][-1]["type"] == "Deny", "EgressFirewall: the rest is not denied")


def check_namespaces(resources):
    """One file must be enough: what it puts into a namespace, it puts into the one that it makes."""
    made = {r["metadata"]["name"] for r in resources if r["kind"] == "Namespace"}
    for resource in resources:
        namespace = resource["metadata"].get("namespace")
        expect(namespace is None or namespace in made, f"{resource['kind']}: namespace {namespace} is not made here")


def check_config(binary, text, container):
    """`kinetail check`, with the variables that the pod would have."""
    environment = dict(os.environ, **{v["name"]: v.get("value", "ci-node") for v in container.get("env", [])})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        check = [binary, "check", "--config", file.name]
        done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"kinetail check: exit {done.returncode}\n{done.stdout}{done.stderr}")


def metrics_of(binary):
    """The names that the binary serves, from one that runs with a directory destination."""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "kinetail.yaml")
        config.write_text(
            f"data_dir: {folder}/data\nadmin: {{listen: '127.0.0.1:0'}}\nlog: {{format: text}}\n"
            f"destinations: {{d: {{type: directory, path: {folder}/out}}}}\n"
            f"routes: [{{files: '{folder}/*.log', to: d}}]\n", encoding="utf-8")
        agent = subprocess.Popen([binary, "run", "--config", config], stderr=subprocess.PIPE, text=True)
        try:
            for line in agent.stderr:
                if found := re.search(r"http://\S+/metrics", line):
                    break
            else:
                sys.exit("the agent ended before it had an admin port")
            with urllib.request.urlopen(found.group(), timeout=30) as answer:
                text = answer.read().decode()
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.communicate(timeout=60)
    names = set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
    # Families of which there is no sample yet.
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names.add(name)
        names |= {name + end for end in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(kind, [])}
    return names


def check_rules(rules, names):
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            for metric in re.findall(r"\bkinetail_\w+", rule["expr"]):
                expect(metric in names, f"{rule['alert']} asks for {metric}, which kinetail does not have")


def check_overlay(binary, text, names):
    resources = [resource for resource in yaml.safe_load_all(text) if resource]
    for resource in resources:
        check_schema(resource)
        if resource["kind"] == "PrometheusRule":
            check_rules(resource, names)
    check_namespaces(resources)

    def the(kind):
        (found,) = [resource for resource in resources if resource["kind"] == kind]
        return found

    daemon_set = the("DaemonSet")
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    config = the("ConfigMap")["data"]["kinetail.yaml"]
    said = yaml.safe_load(config)
    check_container(container, pod, said)
    check_daemon_set(daemon_set, said)
    check_network(resources, daemon_set, said)
    check_api_access(resources, daemon_set, said)
    if any(resource["kind"] == "SecurityContextConstraints" for resource in resources):
        check_scc(the("SecurityContextConstraints"), resources, daemon_set)
    check_config(binary, config, container)
    return len(resources)


class Template(yaml.SafeLoader):
    """A CloudFormation template; its functions (`!Ref NAME`) become their long form."""


def function(loader, name, node):
    value = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: lambda it: loader.construct_sequence(it, deep=True)}
    return {name: value[type(node)](node)}


Template.add_multi_constructor("!", function)


def listed(one_or_many):
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def check_policy(binary):
    """That the stack's role may do to each of its streams what the binary needs for it, and nothing else anywhere."""
    resources = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=Template)["Resources"]
    types = {"AWS::KinesisFirehose::DeliveryStream": "firehose", "AWS::Kinesis::Stream": "kinesis"}
    streams = {name: types[made["Type"]] for name, made in resources.items() if made["Type"] in types}
    config = {
        "data_dir": "/var/lib/kinetail",
        "destinations": {
            name: {"type": kind, "stream": name, "region": "eu-central-1"}
            | ({"packing": "newline"} if kind == "firehose" else {"aggregation": "none"})
            for name, kind in streams.items()
        },
        "routes": [{"files": "/var/log/app/*.log", "to": list(streams)}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(config, file)
        file.flush()
        asked = [binary, "iam-policy", "--account", "111122223333", "--config", file.name]
        printed = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    needed = {
        (arn.rpartition("/")[2], action)
        for statement in printed["Statement"]
        for arn in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    policy = resources["WritePolicy"]["Properties"]["PolicyDocument"]
    given = {
        (resource["GetAtt"].removesuffix(".Arn") if set(resource) == {"GetAtt"} else str(resource), action)
        for statement in policy["Statement"]
        for resource in listed(statement["Resource"])
        for action in listed(statement["Action"])
    }
    expect({stream for stream, _ in needed} == set(streams), f"iam-policy is about {needed}, the stack makes {set(streams)}")
    expect(not needed - given, f"the stack's policy lacks {sorted(needed - given)}")
    expect(not given - needed, f"the stack's policy allows more than iam-policy prints: {sorted(given - needed)}")
    expect(all(set(s) == {"Effect", "Action", "Resource"} for s in policy["Statement"]), "the stack's policy has other keys")
    for name in ("ClusterRole", "InstanceRole"):
        role = resources[name]["Properties"]
        expect(role["ManagedPolicyArns"] == [{"Ref": "WritePolicy"}] and "Policies" not in role, f"{name} has other policies")
    return len(streams)


def pod_of(resource):
    spec = resource.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", spec).get("template", {}).get("spec")


def check_example(binary, path):
    resources = [resource for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")) if resource]
    for resource in resources:
        check_schema(resource)
    configs = [r["data"]["kinetail.yaml"] for r in resources if r["kind"] == "ConfigMap"]
    for pod in filter(None, map(pod_of, resources)):
        (container,) = [c for c in pod["containers"] + pod.get("initContainers", []) if c["name"] == "kinetail"]
        (config,) = configs
        check_container(container, pod, yaml.safe_load(config))
        check_config(binary, config, container)
    return len(resources)


def told(where, before, holds):
    for problem in problems[before:]:
        print(f"{where}: {problem}")
    if len(problems) == before:
        print(f"{where}: {holds}")


def held(count):
    return f"{count} resources hold against Kubernetes {', '.join(VERSIONS)}"


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--render"]:
        for overlay in OVERLAYS:
            (MANIFESTS / f"{overlay}.yaml").write_text(rendered(overlay), encoding="utf-8")
        return
    (binary,) = arguments
    os.makedirs("target", exist_ok=True)
    names = metrics_of(binary)
    for overlay in OVERLAYS:
        before, single = len(problems), MANIFESTS / f"{overlay}.yaml"
        text = rendered(overlay)
        expect(single.read_text(encoding="utf-8") == text, "is not what its overlay renders to; run .ci/manifests.py --render")
        told(single, before, held(check_overlay(binary, text, names)))
    for component, overlays in COMPONENTS.items():
        for overlay in overlays:
            before = len(problems)
            told(f"{overlay} with {component}", before, held(check_overlay(binary, with_components(overlay, [component]), names)))
    named = {folder.name for folder in (MANIFESTS / "components").iterdir() if folder.is_dir()}
    expect(named == set(COMPONENTS), f"components {named} are not the ones that are checked")
    for path in sorted((MANIFESTS / "examples").glob("*.yaml")):
        before = len(problems)
        told(path, before, held(check_example(binary, path)))
    before = len(problems)
    streams = check_policy(binary)
    told(TEMPLATE, before, f"the policy for {streams} streams is what iam-policy prints")
    if problems:
        sys.exit(f"{len(problems)} problems")


if __name__ == "__main__":
    main()
