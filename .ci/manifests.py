"""manifests.py [--render] BINARY: checks manifests as the API server, the kubelet and kinetail would read them.

Each overlay renders to the single file that stands for it (`--render` writes those files anew), and holds with each
component and each two of them. Each resource against its published schemas (schemas.py); the configuration in each ConfigMap
with `kinetail check`; each metric that an alert asks for against what the binary serves; what no schema knows of pods
(deployment.py), of their network (network.py) and of OpenShift (openshift.py); and the CloudFormation template (stack.py).
"""

import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

import yaml
from deployment import (
    check_admission, check_api_access, check_container, check_cron_job, check_daemon_set, check_order, check_role_annotation, check_secret,
)
from findings import expect, problems
from network import check_egress_firewall, check_network
from openshift import check_openshift
from schemas import VERSIONS, check_schema
from stack import TEMPLATE, check_policy, check_roles, check_stack

MANIFESTS = pathlib.Path("manifests")
OVERLAYS = ["openshift", "eks", "plain", "local"]
# What a component can be added to, where not every overlay.
COMPONENTS = {
    "host-logs": OVERLAYS, "node-journal": OVERLAYS, "host-network": OVERLAYS,
    "projected-token": ["plain", "openshift"], "monitoring": ["eks", "plain", "local"],
}

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
    """The overlay with components and with its own order, as somebody would write it down beside this repository."""
    with tempfile.TemporaryDirectory(dir="target") as folder:
        root = os.path.relpath(MANIFESTS, folder)
        order = yaml.safe_load((MANIFESTS / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8"))["sortOptions"]
        own = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "sortOptions": order,
            "resources": [f"{root}/overlays/{overlay}"],
            "components": [f"{root}/components/{component}" for component in components],
        }
        pathlib.Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
        return kustomize(folder)


def combinations_for(overlay):
    """The components that the overlay takes: each, each two together, and all."""
    takes = [component for component, overlays in COMPONENTS.items() if overlay in overlays]
    for number in (1, 2, len(takes)):
        yield from itertools.combinations(takes, number)


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


def check_told(binary):
    """What the documents tell a person to check a configuration of the manifests with, as it stands there."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(pathlib.Path("docs").glob("*.md")))
    commands = re.findall(r"^NODE_NAME=\w+ kinetail check --config \S+$", text, re.MULTILINE)
    expect(commands, "nobody is told how to check a configuration of the manifests")
    environment = {"PATH": f"{pathlib.Path(binary).resolve().parent}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return len(commands)


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


def resources_of(text):
    return [resource for resource in yaml.safe_load_all(text) if resource]


def with_comments(config):
    """The configuration with the routes that are comments in it, as its reader would take them in."""
    taken_in, routes = [], 0
    inside = False
    for line in config.splitlines():
        begins = line.startswith("  # - name: ")
        inside = begins or inside and line.startswith("  #   ")
        routes += begins
        taken_in.append(line.replace("# ", "", 1) if inside else line)
    return "\n".join(taken_in) + "\n", routes


def check_overlay(binary, overlay, text, names):
    resources = resources_of(text)
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
    check_admission(resources, daemon_set)
    check_network(resources, daemon_set, said, overlay)
    check_api_access(resources, daemon_set, said)
    if overlay == "openshift":
        check_openshift(resources, daemon_set)
    if overlay == "eks":
        check_role_annotation(resources)
    check_config(binary, config, container)
    if any(volume["name"] == "node-programs" for volume in pod["volumes"]):
        more, routes = with_comments(config)
        expect(routes == (1 if overlay == "openshift" else 0), f"{routes} routes are comments, which read the node's journal")
        check_container(container, pod, yaml.safe_load(more))
        check_config(binary, more, container)
    return len(resources)


def pod_of(resource):
    spec = resource.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", spec).get("template", {}).get("spec")


def check_example(binary, path):
    text = path.read_text(encoding="utf-8")
    resources = resources_of(text)
    for resource in resources:
        check_schema(resource)
        if resource["kind"] == "EgressFirewall":
            check_egress_firewall(resource, optional=False)
            (with_more,) = resources_of(re.sub(r"^    # (- type:|  (?:to|ports):)", r"    \1", text, flags=re.MULTILINE))
            check_schema(with_more)
            check_egress_firewall(with_more, optional=True)
        if resource["kind"] == "Secret":
            for overlay in OVERLAYS:
                (daemon_set,) = [r for r in resources_of(rendered(overlay)) if r["kind"] == "DaemonSet"]
                check_secret(resource, daemon_set)
    configs = [r["data"]["kinetail.yaml"] for r in resources if r["kind"] == "ConfigMap"]
    accounts = [r["metadata"]["name"] for r in resources if r["kind"] == "ServiceAccount"]
    claims = [r for r in resources if r["kind"] == "PersistentVolumeClaim"]
    for resource in resources:
        pod = pod_of(resource)
        if not pod:
            continue
        (container,) = [c for c in pod["containers"] + pod.get("initContainers", []) if c["name"] == "kinetail"]
        (config,) = configs
        claims += resource["spec"].get("volumeClaimTemplates", [])
        check_container(container, pod | {"claims": claims}, yaml.safe_load(config))
        check_config(binary, config, container)
        expect(pod.get("serviceAccountName") in accounts, "the pod has no account of its own, whose role could write to the streams")
        if resource["kind"] == "CronJob":
            check_cron_job(resource["spec"], pod)
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
        check_order(resources_of(text))
        told(single, before, held(check_overlay(binary, overlay, text, names)))
    for overlay in OVERLAYS:
        for components in combinations_for(overlay):
            before, text = len(problems), with_components(overlay, components)
            check_order(resources_of(text))
            told(f"{overlay} with {', '.join(components)}", before, held(check_overlay(binary, overlay, text, names)))
    named = {folder.name for folder in (MANIFESTS / "components").iterdir() if folder.is_dir()}
    expect(named == set(COMPONENTS), f"components {named} are not the ones that are checked")
    for path in sorted((MANIFESTS / "examples").glob("*.yaml")):
        before = len(problems)
        told(path, before, held(check_example(binary, path)))
    before = len(problems)
    told("docs", before, f"{check_told(binary)} commands check configurations of the manifests")
    before = len(problems)
    streams, alarms, roles = check_policy(binary), check_stack(), check_roles()
    says = f"the policy for {streams} streams is what iam-policy prints, {roles} roles have it, and {alarms} alarms look at them"
    told(TEMPLATE, before, says)
    if problems:
        sys.exit(f"{len(problems)} problems")


if __name__ == "__main__":
    main()
