# SPDX-License-Identifier: MIT
"""JSON schemas of the kinds that the chart renders, for kubeconform: made from Kubernetes' own OpenAPI description and
the definitions of the Prometheus operator, which their Go modules carry. A field that is not described is refused."""
import functools
import json
import os
import tempfile
import zipfile
from pathlib import Path

import yaml

from gotools import TOOLS, locked, module_zip

KUBERNETES = "v1.34.2"
OPERATOR = "v0.85.0"
KINDS = [("", "v1", "ConfigMap"), ("", "v1", "Pod"), ("", "v1", "Secret"), ("", "v1", "Service"),
         ("", "v1", "ServiceAccount"), ("apps", "v1", "Deployment"), ("apps", "v1", "StatefulSet"),
         ("autoscaling", "v2", "HorizontalPodAutoscaler"), ("networking.k8s.io", "v1", "Ingress"),
         ("networking.k8s.io", "v1", "NetworkPolicy"), ("policy", "v1", "PodDisruptionBudget")]
CUSTOM = ["servicemonitors", "prometheusrules"]
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def strict(schema):
    """The same without its prose, and with every field that it does not name forbidden."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    made = {key: {name: strict(part) for name, part in value.items()} if key == "properties" else strict(value)
            for key, value in schema.items() if key != "description" and not key.startswith("x-")}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def refs(schema):
    """The names of the definitions that a schema refers to."""
    if isinstance(schema, list):
        return {name for part in schema for name in refs(part)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(refs, schema.values()))


def file_name(group, version, kind):
    return "-".join(filter(None, [kind, group.split(".")[0], version])).lower() + ".json"


def own_kinds():
    """{file name: schema}, each with the definitions that it needs."""
    with zipfile.ZipFile(module_zip(f"k8s.io/kubernetes@{KUBERNETES}")) as module:
        path = f"k8s.io/kubernetes@{KUBERNETES}/api/openapi-spec/swagger.json"
        definitions = json.loads(module.read(path))["definitions"]
    names = {(kind["group"], kind["version"], kind["kind"]): name for name, definition in definitions.items()
             for kind in definition.get("x-kubernetes-group-version-kind", [])}
    definitions[QUANTITY] = {"type": ["string", "number"]}
    made = {name: strict(definition) for name, definition in definitions.items()}
    schemas = {}
    for kind in KINDS:
        needed, new = set(), {names[kind]}
        while new:
            needed |= new
            new = set().union(*(refs(made[name]) for name in new)) - needed
        schemas[file_name(*kind)] = {"$ref": f"#/definitions/{names[kind]}",
                                     "definitions": {name: made[name] for name in sorted(needed)}}
    return schemas


def custom_kinds():
    module_name = f"github.com/prometheus-operator/prometheus-operator@{OPERATOR}"
    schemas = {}
    with zipfile.ZipFile(module_zip(module_name)) as module:
        for plural in CUSTOM:
            path = f"{module_name}/example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
            spec = yaml.safe_load(module.read(path))["spec"]
            version = next(version for version in spec["versions"] if version["served"])
            name = file_name(spec["group"], version["name"], spec["names"]["kind"])
            schemas[name] = strict(version["schema"]["openAPIV3Schema"])
    return schemas


@functools.cache
def schemas():
    """The folder that holds them."""
    folder = TOOLS / f"schemas-{KUBERNETES}-{OPERATOR}"
    with locked(folder.name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=TOOLS) as work:
                made = Path(work) / "made"
                made.mkdir()
                for name, schema in {**own_kinds(), **custom_kinds()}.items():
                    (made / name).write_text(json.dumps(schema))
                os.rename(made, folder)
    return folder
